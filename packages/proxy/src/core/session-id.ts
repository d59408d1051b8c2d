// Unique in this process, and with 30 random bits in front unlikely to meet its like in another's log.
const prefix = Math.floor(Math.random() * 2 ** 30)
  .toString(36)
  .padStart(6, '0');
let sessions = 0;

/** The name of the next session. */
export function nextSessionId(): string {
  return `${prefix}${(sessions++).toString(36).padStart(4, '0')}`;
}
