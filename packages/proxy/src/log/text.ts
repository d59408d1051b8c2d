/**
 * One JSON line of the log as a line for people: time, level, message, then what else is known as `key=value`. A value with
 * spaces is quoted; errors are written out below the line. What is no JSON object is given back as it is.
 */
export function formatLine(json: string): string {
  let record: Record<string, unknown>;
  try {
    const parsed: unknown = JSON.parse(json);
    if (typeof parsed !== 'object' || parsed === null) return json;
    record = parsed as Record<string, unknown>;
  } catch {
    return json;
  }
  const { time, level, msg, err, ...rest } = record;
  const fields = Object.entries(rest).map(([key, value]) => ` ${key}=${formatValue(value)}`);
  const head = `${String(time)} ${String(level).toUpperCase().padEnd(5)} ${plain(String(msg ?? ''))}${fields.join('')}\n`;
  const stack = typeof err === 'object' && err !== null && 'stack' in err ? String(err.stack) : '';
  return stack === '' ? head : `${head}${stack.split('\n').map(plain).join('\n    ')}\n`;
}

function formatValue(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[^\s"=]+$/.test(text) ? plain(text) : JSON.stringify(text);
}

/** Clients choose some of these texts; none may move the cursor or begin a line of its own. */
function plain(text: string): string {
  // eslint-disable-next-line no-control-regex -- exactly these are to be taken out
  return text.replace(/[\0-\x1F\x7F-\x9F]/g, (char) =>
    JSON.stringify(char)
      .slice(1, -1)
      .replace(/^[\x7F-\x9F]$/, '?'),
  );
}
