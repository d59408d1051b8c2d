// What the log of a proxy says of questions that had no answer.

/** The lines of a service's questions that had none, from this place of the log on. */
export function unaskedOf(id: string, text: string, from = 0): string[] {
  const lines: string[] = [];
  const mark = `"service":"${id}",`;
  for (let at = text.indexOf(mark, from); at >= 0; at = text.indexOf(mark, at + 1)) {
    const line = text.slice(at, text.indexOf('\n', at) + 1 || undefined);
    if (line.includes('"decision":"couldNotAsk"')) lines.push(line);
  }
  return lines;
}

/** What the log calls the first of them; undefined: there was none. */
export function codeOf(id: string, text: string, from = 0): string | undefined {
  const [line] = unaskedOf(id, text, from);
  return line === undefined ? undefined : (/ ms, (\w+)\)/.exec(line)?.[1] ?? line);
}
