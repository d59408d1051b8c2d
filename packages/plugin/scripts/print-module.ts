import type { Descriptor, FieldDescriptor, FileDescriptor } from './descriptor.ts';

/** descriptor.proto's numbers of the types that GOST's messages use, and what they are in TypeScript. */
const scalars: ReadonlyMap<number, { scalar: string; typescript: string }> = new Map([
  [3, { scalar: 'int64', typescript: 'Int64' }],
  [4, { scalar: 'uint64', typescript: 'Int64' }],
  [5, { scalar: 'int32', typescript: 'number' }],
  [8, { scalar: 'bool', typescript: 'boolean' }],
  [9, { scalar: 'string', typescript: 'string' }],
  [12, { scalar: 'bytes', typescript: 'Buffer' }],
]);
const messageKind = 11;
const repeatedLabel = 3;

// Field numbers of descriptor.proto, as they stand in the path of a comment.
const messageInFile = 4;
const serviceInFile = 6;
const fieldInMessage = 2;

/**
 * Prints one .proto as a TypeScript module: an interface and a table for each message, a constant for each service. Throws Error when the file uses
 * what the tables cannot say (enums, maps, oneofs, nested declarations, streams).
 */
export function printModule(file: FileDescriptor): string {
  const notes = commentsOf(file);
  const text = [
    `// Written by scripts/generate.ts from proto/${file.name}. Do not edit: change the .proto and run "npm run generate".`,
  ];
  const printed = file.messageType.map((message) => message.field.map((field) => typeOf(message, field)));
  const uses = new Set(printed.flat().map(({ typescript }) => typescript));
  if (uses.has('Int64')) text.push("import type { Int64 } from '../contract.ts';");
  text.push("import type { MessageType } from '../wire/proto.ts';", '');

  for (const { message, path } of inOrderOfUse(file)) {
    const fields = message.field.map((field, i) => ({
      field,
      type: typeOf(message, field),
      note: notes.get([...path, fieldInMessage, i].join('.')),
    }));
    text.push(...comment(notes.get(path.join('.')) ?? `proto.${message.name} of proto/${file.name}.`, ''));
    text.push(`export interface ${message.name} {`);
    for (const { field, type, note } of fields) {
      if (note !== undefined) text.push(...comment(note, '  '));
      text.push(`  ${field.jsonName}: ${declared(field, type.typescript)};`);
    }
    text.push('}', '');
    text.push(`/** The table of {@link ${message.name}}. */`);
    text.push(`export const ${message.name}: MessageType<${message.name}> = {`);
    text.push(`  typeName: '${file.package}.${message.name}',`);
    text.push('  fields: [');
    for (const { field, type } of fields) {
      const repeated = field.label === repeatedLabel;
      text.push(
        `    { number: ${field.number}, name: '${field.jsonName}', type: ${type.table}, repeated: ${repeated} },`,
      );
    }
    text.push('  ],', '};', '');
  }
  file.service.forEach((service, i) => {
    text.push(...comment(notes.get(`${serviceInFile}.${i}`) ?? `The service of proto/${file.name}.`, ''));
    text.push(`export const ${service.name} = {`);
    text.push(`  typeName: '${file.package}.${service.name}',`);
    text.push('  methods: {');
    for (const method of service.method) {
      if (method.clientStreaming || method.serverStreaming) {
        throw new Error(`${file.name}: ${service.name}.${method.name} streams, which no table can say`);
      }
      const [request, reply] = [lastPart(method.inputType), lastPart(method.outputType)];
      text.push(`    ${method.name}: { rpc: '${method.name}', request: ${request}, reply: ${reply} },`);
    }
    text.push('  },', '} as const;', '');
  });
  return text.join('\n');
}

function declared(field: FieldDescriptor, typescript: string): string {
  if (field.label === repeatedLabel) return `readonly ${typescript}[]`;
  return field.type === messageKind ? `${typescript} | undefined` : typescript;
}

function typeOf(message: Descriptor, field: FieldDescriptor): { typescript: string; table: string } {
  const scalar = scalars.get(field.type);
  if (scalar !== undefined && !field.proto3Optional) {
    return { typescript: scalar.typescript, table: `'${scalar.scalar}'` };
  }
  if (field.type === messageKind && message.nestedType.length === 0) {
    const name = lastPart(field.typeName);
    return { typescript: name, table: name };
  }
  throw new Error(`${message.name}.${field.name}: type ${field.type} cannot be said in a table`);
}

/** The messages, each after those that it holds, otherwise as they stand in the file. */
function inOrderOfUse(file: FileDescriptor): { message: Descriptor; path: readonly number[] }[] {
  const ordered: { message: Descriptor; path: readonly number[] }[] = [];
  const seen = new Set<Descriptor>();
  const visit = (message: Descriptor): void => {
    if (seen.has(message)) return;
    seen.add(message);
    for (const field of message.field) {
      const held = file.messageType.find(({ name }) => field.typeName === `.${file.package}.${name}`);
      if (field.type === messageKind && held === undefined)
        throw new Error(`${field.typeName} is not in ${file.name}`);
      if (held !== undefined) visit(held);
    }
    ordered.push({ message, path: [messageInFile, file.messageType.indexOf(message)] });
  };
  for (const message of file.messageType) visit(message);
  return ordered;
}

function lastPart(typeName: string): string {
  return typeName.slice(typeName.lastIndexOf('.') + 1);
}

function commentsOf(file: FileDescriptor): ReadonlyMap<string, string> {
  const notes = new Map<string, string>();
  for (const location of file.sourceCodeInfo?.location ?? []) {
    const note = (location.leadingComments || location.trailingComments).trim();
    if (note !== '') notes.set(location.path.join('.'), note);
  }
  return notes;
}

function comment(note: string, indent: string): string[] {
  const lines = note.split('\n').map((line) => line.trim());
  if (lines.length === 1) return [`${indent}/** ${lines[0]} */`];
  return [`${indent}/**`, ...lines.map((line) => `${indent} * ${line}`.trimEnd()), `${indent} */`];
}
