import { formatPlace } from './source.ts';
import type { Place, Source } from './source.ts';

/** One thing that is wrong with a configuration, or one thing to know about it. */
export interface Finding {
  readonly place: Place;
  /** Where in the tree, in GOST's words: `services[0].handler.auther`. Empty where the text itself is broken. */
  readonly path: string;
  /** Never holds a value that may be a credential. */
  readonly message: string;
}

/** Collects what loading finds, so that a person sees everything in one go. */
export interface Report {
  readonly errors: readonly Finding[];
  readonly warnings: readonly Finding[];
  /** How many errors were found beyond the ones that are kept (a thousand). */
  readonly more: number;
  error(place: Place, path: string, message: string): void;
  warn(place: Place, path: string, message: string): void;
}

const maxFindings = 1000;

/** An empty report. */
export function createReport(): Report {
  const errors: Finding[] = [];
  const warnings: Finding[] = [];
  let more = 0;
  /** What was said of a place. One mistake is one message, also where its value counts in several places. */
  const said = new Map<Source, Set<string>>();
  const isNew = ({ source, offset }: Place, message: string): boolean => {
    const known = said.get(source) ?? new Set();
    said.set(source, known);
    const key = `${String(offset)} ${message}`;
    if (known.has(key)) return false;
    known.add(key);
    return true;
  };
  return {
    errors,
    warnings,
    get more() {
      return more;
    },
    error(place, path, message) {
      if (errors.length < maxFindings && !isNew(place, message)) return;
      if (errors.length < maxFindings) errors.push({ place, path, message });
      else more++;
    },
    warn(place, path, message) {
      if (warnings.length < maxFindings && isNew(place, message)) warnings.push({ place, path, message });
    },
  };
}

/** `gost.yml:12:5: services[0].handler.auther: what is wrong`. */
export function formatFinding({ place, path, message }: Finding): string {
  return `${formatPlace(place)}: ${path === '' ? '' : `${path}: `}${message}`;
}

/** All findings, one a line, in the order of the text. */
export function formatFindings(findings: readonly Finding[], more = 0): string[] {
  const files = new Map(findings.map(({ place }) => [place.source, 0]));
  for (const [index, source] of [...files.keys()].entries()) files.set(source, index);
  const sorted = findings.toSorted(
    (a, b) => files.get(a.place.source)! - files.get(b.place.source)! || a.place.offset - b.place.offset,
  );
  const lines = sorted.map(formatFinding);
  if (more > 0) lines.push(`and ${String(more)} more`);
  return lines;
}
