// `npm run generate`: writes src/gen/ from proto/. With --check it compares instead and fails on a difference.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeMessage } from '../src/wire/proto.ts';
import { fileDescriptorSet, type FileDescriptor } from './descriptor.ts';
import { printModule } from './print-module.ts';

const protoFolder = fileURLToPath(new URL('../proto', import.meta.url));
const genFolder = fileURLToPath(new URL('../src/gen', import.meta.url));
const check = process.argv.includes('--check');

/** Compiles one .proto. Each is compiled alone: all are package `proto`, and two may declare messages of one name. */
function describe(name: string, folder: string): FileDescriptor {
  const out = join(folder, `${name}.pb`);
  const args = [`--proto_path=${protoFolder}`, '--include_source_info', `--descriptor_set_out=${out}`, name];
  const { status, stderr } = spawnSync('protoc', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`protoc failed on proto/${name}:\n${stderr}`);
  const [file] = decodeMessage(fileDescriptorSet, readFileSync(out)).file;
  if (file?.syntax !== 'proto3') throw new Error(`proto/${name} is not proto3`);
  return file;
}

function generate(): Map<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-proto-'));
  try {
    const names = readdirSync(protoFolder).filter((name) => name.endsWith('.proto'));
    return new Map(
      names.sort().map((name) => [name.replace(/\.proto$/, '.ts'), printModule(describe(name, folder))]),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function main(): number {
  const version = spawnSync('protoc', ['--version'], { encoding: 'utf8' });
  if (version.error !== undefined) {
    console.log(
      'generated code: not checked, protoc is not installed (Debian: apt-get install protobuf-compiler)',
    );
    return check ? 0 : 1;
  }
  const modules = generate();
  const present = existsSync(genFolder) ? readdirSync(genFolder) : [];
  const stale = present.filter((name) => !modules.has(name));
  const differing = [...modules].filter(([name, text]) => {
    return !present.includes(name) || readFileSync(join(genFolder, name), 'utf8') !== text;
  });
  if (check) {
    const wrong = [...stale, ...differing.map(([name]) => name)];
    if (wrong.length > 0)
      console.error(`src/gen differs from proto/ (run "npm run generate"): ${wrong.join(', ')}`);
    return wrong.length > 0 ? 1 : 0;
  }
  mkdirSync(genFolder, { recursive: true });
  for (const name of stale) rmSync(join(genFolder, name));
  for (const [name, text] of differing) writeFileSync(join(genFolder, name), text);
  console.log(`${modules.size} modules, ${differing.length + stale.length} changed`);
  return 0;
}

process.exitCode = main();
