// docs/tunnels.md, as a reader would do it: every command on the machine that stands before it, every answer compared.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Program } from '../../packages/proxy/test/program.ts';
import { createNetwork, missingNamespaces } from './netns.ts';
import type { Host, Network } from './netns.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(path.join(root, 'docs/tunnels.md'), 'utf8');
const names = ['server', 'laptop', 'visitor', 'server2'];

/** A command, and what it has to print. */
interface Step {
  readonly host: string;
  readonly command: string;
  readonly prints: readonly string[];
}

interface Section {
  readonly title: string;
  readonly files: readonly { readonly name: string; readonly text: string }[];
  readonly steps: readonly Step[];
}

const sections: readonly Section[] = page
  .split(/^## /m)
  .slice(1)
  .map((text) => {
    const steps: Step[] = [];
    for (const [, block] of text.matchAll(/```console\n([^]*?)```/g)) {
      for (const line of block!.trimEnd().split('\n')) {
        const [, host, command] = /^(\w+)\$ (.*)$/.exec(line) ?? [];
        const last = steps.at(-1);
        if (host !== undefined) steps.push({ host, command: command!, prints: [] });
        else if (last !== undefined) steps[steps.length - 1] = { ...last, prints: [...last.prints, line] };
      }
    }
    const files = [...text.matchAll(/<!-- file: (\S+) -->\n+```yaml\n([^]*?)```/g)].map(([, name, yaml]) => ({
      name: name!,
      text: yaml!,
    }));
    return { title: text.split('\n', 1)[0]!, files, steps };
  })
  .filter(({ steps }) => steps.length > 0);

/** What runs until it is ended, and the line by which it says that it does. */
const daemons: readonly (readonly [command: RegExp, ready: RegExp])[] = [
  [/^sallyport .*-L r(tcp|udp):/, /"msg":"(bound at|tunnel )/],
  [/^sallyport -C (laptop|visitor)\.yml/, /"msg":".*(joined|gateway)/i],
  [/^sallyport /, /"msg":"\S+ listening on/],
  [/^node .*tunnels\.mjs --grpc/, /listen/i],
  [/^redis-server /, /Ready to accept connections/],
];

/** The services that the page takes for granted, on the laptop. */
const laptop = `
  require('http').createServer((_, answer) => answer.end('hello from the laptop\\n')).listen(8080, '127.0.0.1', () => console.log('web ready'));
  const echo = require('dgram').createSocket('udp4').on('message', (data, from) => echo.send(data, from.port, from.address));
  echo.bind(5353, '127.0.0.1', () => console.log('echo ready'));
`;

class Reader {
  readonly #network: Network;
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor(network: Network, folder: string) {
    this.#network = network;
    this.#folder = folder;
    const launcher = path.join(root, 'packages/proxy/bin/sallyport.js');
    writeFileSync(
      path.join(folder, 'sallyport'),
      `#!/bin/sh\nexec '${process.execPath}' '${launcher}' "$@"\n`,
      {
        mode: 0o755,
      },
    );
    const bin = `${folder}:${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}`;
    this.#env = { ...process.env, PATH: bin };
  }

  async prepare(files: Section['files']): Promise<void> {
    for (const { name, text } of files) writeFileSync(path.join(this.#folder, name), text);
    const services = this.#network.host('laptop').start(process.execPath, ['-e', laptop]);
    await services.line(/web ready/);
    await services.line(/echo ready/);
  }

  async follow({ host: name, command, prints }: Step): Promise<void> {
    const host = this.#network.host(name);
    const [, ready] = daemons.find(([daemon]) => daemon.test(command)) ?? [];
    const shell = command.replaceAll('examples/', `${root}/examples/`);
    if (ready !== undefined) {
      await this.#start(host, shell).line(ready);
      return;
    }
    const { stdout, stderr, code } = await host.run('env', [
      ...[`PATH=${this.#env['PATH']!}`, 'sh', '-c'],
      `cd '${this.#folder}' && ${shell}`,
    ]);
    assert.equal(stdout.trimEnd(), prints.join('\n'), `${name}$ ${command}: ${stderr}`);
    assert.equal(code, 0, `${name}$ ${command} ended with ${String(code)}: ${stderr}`);
  }

  #start(host: Host, shell: string): Program {
    return host.start('sh', ['-c', `exec ${shell}`], { cwd: this.#folder, env: this.#env });
  }
}

const missing = await missingNamespaces();

describe('docs/tunnels.md', { skip: missing }, () => {
  test('has commands in every part that promises some', () => {
    assert.ok(sections.length >= 7, `only ${String(sections.length)} parts have commands`);
  });
  for (const { title, files, steps } of sections) {
    test(title, { timeout: 60_000 }, async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'tunnels-page-'));
      const network = await createNetwork(...names);
      try {
        const reader = new Reader(network, folder);
        await reader.prepare(files);
        for (const step of steps) await reader.follow(step);
      } finally {
        await network.close();
        rmSync(folder, { recursive: true });
      }
    });
  }
});
