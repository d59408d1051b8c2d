/** What can wait in a {@link WaitingLine}. The fields belong to it. */
export interface Waiting<Member> {
  isWaiting: boolean;
  ahead: Member | undefined;
  behind: Member | undefined;
}

/**
 * A line in which anybody may leave at any time. It is a list through its members: a Set that members keep coming to and
 * leaving is copied again and again by the runtime, and the copies keep those who have left until the next full collection.
 */
export class WaitingLine<Member extends Waiting<Member>> {
  #first: Member | undefined;
  #last: Member | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): Member | undefined {
    return this.#first;
  }

  /** Puts a member at the end, unless it is waiting already. */
  add(member: Member): void {
    if (member.isWaiting) return;
    member.isWaiting = true;
    member.ahead = this.#last;
    member.behind = undefined;
    if (this.#last === undefined) this.#first = member;
    else this.#last.behind = member;
    this.#last = member;
    this.#size++;
  }

  /** Takes a member out, if it is waiting. */
  delete(member: Member): void {
    if (!member.isWaiting) return;
    const { ahead, behind } = member;
    if (ahead === undefined) this.#first = behind;
    else ahead.behind = behind;
    if (behind === undefined) this.#last = ahead;
    else behind.ahead = ahead;
    member.isWaiting = false;
    member.ahead = undefined;
    member.behind = undefined;
    this.#size--;
  }

  /** Everybody who waits now, first come first. */
  list(): Member[] {
    const members: Member[] = [];
    for (let one = this.#first; one !== undefined; one = one.behind) members.push(one);
    return members;
  }
}
