import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { AnyMethod, HttpRule } from '../contract.ts';
import type { MessageType } from '../wire/proto.ts';
import { contracts } from './index.ts';

const protoFolder = fileURLToPath(new URL('../../proto/', import.meta.url));
const tableFile = fileURLToPath(new URL('../../../../../shared/reference/wire.md', import.meta.url));
const present = existsSync(tableFile);

/** One field as text: `repeated string client_san 6`. */
type FieldLine = string;

interface ProtoFile {
  readonly messages: ReadonlyMap<string, readonly FieldLine[]>;
  readonly methods: readonly { service: string; rpc: string; request: string; reply: string }[];
}

function parseProto(text: string): ProtoFile {
  const code = text.replace(/\/\/.*$/gm, '');
  const messages = new Map<string, FieldLine[]>();
  for (const [, name, body] of code.matchAll(/message (\w+) \{([^}]*)\}/g)) {
    const fields = [...body!.matchAll(/(repeated )?(\w+) (\w+) = (\d+);/g)];
    messages.set(
      name!,
      fields.map(([, repeated = '', type, field, number]) => `${repeated}${type} ${field} ${number}`),
    );
  }
  const methods = [...code.matchAll(/service (\w+) \{([^}]*)\}/g)].flatMap(([, service, body]) =>
    [...body!.matchAll(/rpc (\w+)\((\w+)\) returns \((\w+)\);/g)].map(([, rpc, request, reply]) => {
      return { service: service!, rpc: rpc!, request: request!, reply: reply! };
    }),
  );
  return { messages, methods };
}

const protos = new Map(
  readdirSync(protoFolder).map((name) => [
    name.replace('.proto', ''),
    parseProto(readFileSync(protoFolder + name, 'utf8')),
  ]),
);

function linesOf(type: MessageType<object>, named: (camel: string) => string): FieldLine[] {
  return type.fields.map((field) => {
    const name = typeof field.type === 'string' ? field.type : field.type.typeName.replace('proto.', '');
    return `${field.repeated ? 'repeated ' : ''}${name} ${named(field.name)} ${field.number}`;
  });
}

function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase());
}

describe('contracts and .proto files', () => {
  it('are the same thirteen', () => {
    expect([...protos.keys()].sort()).toEqual(contracts.map(({ kind }) => kind));
  });

  it.each(contracts)(
    '$kind: services, methods, messages, names, numbers and types',
    ({ kind, service, methods }) => {
      const proto = protos.get(kind)!;
      const byRpc = Object.values<AnyMethod>(methods).map(({ rpc, request, reply }) => {
        return { service, rpc, request: request.typeName, reply: reply.typeName };
      });
      const declared = proto.methods.map((method) => ({
        service: `proto.${method.service}`,
        rpc: method.rpc,
        request: `proto.${method.request}`,
        reply: `proto.${method.reply}`,
      }));
      const order = (a: { rpc: string }, b: { rpc: string }) => a.rpc.localeCompare(b.rpc);
      expect(byRpc.sort(order)).toEqual(declared.sort(order));

      const seen = new Set<string>();
      const compare = (type: MessageType<object>): void => {
        const name = type.typeName.replace('proto.', '');
        seen.add(name);
        const lines = proto.messages.get(name)!.map((line) => line.replace(/\w+_\w+/, camel));
        expect(linesOf(type, (field) => field)).toEqual(lines);
        for (const field of type.fields) if (typeof field.type !== 'string') compare(field.type);
      };
      for (const { request, reply } of Object.values<AnyMethod>(methods)) [request, reply].forEach(compare);
      expect([...seen].sort()).toEqual([...proto.messages.keys()].sort());
    },
  );
});

/** A cell of fields: `addr string 1, client_san repeated string 6 (a note)`. */
function fieldsOf(cell: string): FieldLine[] {
  return cell
    .replace(/\([^)]*\)/g, '')
    .split(',')
    .map((part) => {
      const words = part.trim().split(' ');
      return `${words.slice(1, -1).join(' ')} ${words[0]} ${words.at(-1)}`;
    });
}

/** `{service, network, addr}` or `{events: […]}` as keys; the first level only. */
function keysOf(braces: string): string[] {
  return braces
    .replace(/^\{|\}$/g, '')
    .split(',')
    .map((key) => key.trim().replace(/:.*$/, ''));
}

interface Row {
  readonly module: string;
  readonly service: string;
  readonly rpcs: readonly string[];
  readonly request: readonly FieldLine[];
  readonly reply: readonly FieldLine[];
  readonly http: string;
}

function cellsOf(line: string): string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

const table = present ? readFileSync(tableFile, 'utf8') : '';
const rows: Row[] = table
  .split('\n')
  .filter((line) => /^\| \w+ \| \w+ \/ /.test(line))
  .map((line) => {
    const [module, method, request, reply, http] = cellsOf(line) as [string, string, string, string, string];
    const [service, rpcs] = method.split(' / ') as [string, string];
    // In the table the module is "auther", as GOST's package is; the files and the HTTP path are "auth".
    const name = module === 'auther' ? 'auth' : module;
    return {
      module: name,
      service,
      rpcs: rpcs.split(', '),
      request: fieldsOf(request),
      reply: fieldsOf(reply),
      http,
    };
  })
  .filter(({ module }) => module !== 'module');

function httpOf(rule: HttpRule, request: MessageType<object>): string {
  const keys = rule.request.map((key) => key.replace('?', rule.verb === 'GET' ? '' : '?'));
  const list = (key: string) =>
    request.fields.find((field) => field.name === key)?.repeated ? `${key}: […]` : key;
  const asked =
    rule.verb === 'GET' ? `?${keys.map((key) => `${key}=…`).join('&')}` : `{${keys.map(list).join(', ')}}`;
  return `${rule.verb} ${asked.replace('clientSan?: […]', 'clientSan?')}`;
}

describe('the table of the reference', () => {
  it.skipIf(present)('skipped: ../shared/reference/wire.md is not beside this repository', () => {});

  it.skipIf(!present)('has a row for every method', () => {
    const named = rows.flatMap(({ service, rpcs }) => rpcs.map((rpc) => `proto.${service}/${rpc}`));
    const ours = contracts.flatMap(({ service, methods }) => {
      return Object.values<AnyMethod>(methods).map(({ rpc }) => `${service}/${rpc}`);
    });
    expect(ours.sort()).toEqual(named.sort());
  });

  it.each(rows)('$module $rpcs', ({ module, rpcs, request, reply, http }) => {
    const contract = contracts.find(({ kind }) => kind === module)!;
    const proto = protos.get(module)!;
    const [askedHow, answered] = http.split(' → ') as [string, string];
    const verbs = /^[A-Z, ]+/.exec(askedHow)![0].trim().split(', ');
    rpcs.forEach((rpc, i) => {
      const method = Object.values<AnyMethod>(contract.methods).find((one) => one.rpc === rpc)!;
      const messages = proto.methods.find((one) => one.rpc === rpc)!;
      const sorted = (lines: readonly string[]) => [...lines].sort();
      expect(sorted(proto.messages.get(messages.request)!)).toEqual(sorted(request));
      expect(sorted(proto.messages.get(messages.reply)!)).toEqual(sorted(reply));

      const rule = method.http;
      const asked = askedHow.replace(/^[A-Z, ]+/, '').replace(/ \(.*$/, '');
      expect(httpOf(rule, method.request)).toBe(`${verbs[i]} ${asked}`);
      if (answered === 'status only') expect(rule.statusOnly).toBe(true);
      else if (answered === 'the node itself') expect(rule.replyBody).toBe('node');
      else {
        const aliases = Object.values(rule.alias ?? {}).map((alias) => `${alias}?`);
        expect([...rule.reply, ...aliases]).toEqual(keysOf(answered));
      }
    });
  });

  it.skipIf(!present)('has the messages inside messages', () => {
    const inner = table.split('\n').filter((line) => /^\| (sd|observer) `\w+` \|/.test(line));
    expect(inner.length).toBe(4);
    for (const line of inner) {
      const [name, cell] = cellsOf(line) as [string, string];
      const [, module, message] = /^(\w+) `(\w+)`$/.exec(name)!;
      const lines = cell.endsWith(', all uint64')
        ? fieldsOf(cell.replace(', all uint64', '').replace(/ (\d+)/g, ' uint64 $1'))
        : fieldsOf(cell);
      expect(protos.get(module!)!.messages.get(message!)).toEqual(lines);
    }
  });

  it.skipIf(!present)('has the keys of an event, and which are left out', () => {
    const { http } = rows.find(({ module }) => module === 'observer')!;
    const [, keys] = /\(an Event: (.*)\)/.exec(http)!;
    const observe = contracts.find(({ kind }) => kind === 'observer')!.methods['observe']!;
    expect(observe.http.nested!['proto.Event']).toEqual(keys!.replace(/\{[^}]*\}/g, '').split(', '));
  });
});
