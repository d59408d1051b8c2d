/** Says which rule is wrong and why. What may hold a password by mistake (`user:pass@host`) is not repeated. */
export function ruleError(rule: string, why: string, cause?: unknown): TypeError {
  const shown = rule.length > 80 ? `${rule.slice(0, 80)}…` : rule;
  const name = rule.includes('@') ? 'this' : JSON.stringify(shown);
  return new TypeError(`${name} ${why}`, cause === undefined ? undefined : { cause });
}

/** The longest rule that is read. No name, pattern or limit comes near; only a file that is no list of rules does. */
const maxRuleLength = 1024;

/** A rule without the space around it. Throws TypeError for one that is empty or longer than 1,024 characters. */
export function trimRule(text: string): string {
  if (text.length > maxRuleLength)
    throw ruleError(text, `is longer than ${String(maxRuleLength)} characters`);
  const rule = text.trim();
  if (rule === '') throw ruleError(rule, 'is empty');
  return rule;
}
