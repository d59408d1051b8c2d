/**
 * The layer rule of the house (CONTRIBUTING.md): who may import whom. `npm run check` fails on any other arrow.
 */
const proxy = 'packages/proxy/src';
const tests = '\\.(test|fixture)\\.ts$';

/** A rule: nothing in `from` imports anything of ours in `to`. */
const never = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

module.exports = {
  forbidden: [
    never(
      'plugin-knows-no-proxy',
      'The plugin package is usable without the proxy.',
      { path: '^packages/plugin' },
      { path: '^packages/(?!plugin)' },
    ),
    never(
      'wire-knows-nothing-above',
      'The wire does not know contracts, engine, client, server or tests.',
      { path: '^packages/plugin/src/wire', pathNot: tests },
      { path: '^packages/plugin/src/(contracts|engine|gen|testing|client|server|codec|addresses)' },
    ),
    never(
      'sdk-does-not-import-its-tests',
      'Only tests and the conformance suite itself use packages/plugin/src/testing.',
      { path: '^packages/plugin/src', pathNot: ['^packages/plugin/src/testing', tests] },
      { path: '^packages/plugin/src/testing' },
    ),
    never(
      'proxy-wire-is-pure',
      'Codecs of the proxy import only the error type.',
      { path: `^${proxy}/wire`, pathNot: tests },
      { path: `^${proxy}/(?!wire|core/errors)` },
    ),
    never(
      'core-imports-no-module',
      'The core knows interfaces, never the modules that fill them.',
      { path: `^${proxy}/core`, pathNot: tests },
      { path: `^${proxy}/(transports|protocols|policies|chain|config|log|records|observe|modules|cli)` },
    ),
    never(
      'schema-knows-no-module',
      'How a text is read knows nothing of what it configures.',
      { path: `^${proxy}/schema`, pathNot: tests },
      { path: `^${proxy}/(?!schema/)` },
    ),
    ...['transports', 'protocols', 'policies', 'chain'].map((layer) =>
      never(
        `${layer}-import-only-below`,
        'What a module needs of another kind of module reaches it as a Way, a Session or a value from modules.ts.',
        { path: `^${proxy}/${layer}/`, pathNot: tests },
        { path: `^${proxy}/(?!${layer}/|core/|wire/|schema/)` },
      ),
    ),
    ...['transports', 'protocols', 'policies'].map((layer) =>
      never(
        `${layer}-siblings-apart`,
        'Two modules of one kind never import each other.',
        { path: `^${proxy}/${layer}/([^/]+)/`, pathNot: tests },
        { path: `^${proxy}/${layer}/([^/]+)/`, pathNot: `^${proxy}/${layer}/$1/` },
      ),
    ),
    ...['log', 'records', 'observe'].map((reader) =>
      never(
        `${reader}-reads-the-core`,
        'A reader of what becomes known of sessions knows the core, and no other reader.',
        { path: `^${proxy}/${reader}/`, pathNot: tests },
        { path: `^${proxy}/(?!${reader}/|core/)` },
      ),
    ),
    never(
      'only-cli-and-api-load-config',
      'Below the configuration nothing reads it.',
      {
        path: `^${proxy}/(core|wire|transports|protocols|policies|chain|log|records|observe|modules)`,
        pathNot: tests,
      },
      { path: `^${proxy}/config` },
    ),
    never(
      'no-circles',
      'A circle of imports hides which of the two knows the other.',
      {},
      { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    ),
    never(
      'no-orphans',
      'A file that nothing imports is dead.',
      // The types of a library that brings none are found by its name.
      { orphan: true, path: '^packages/.*/src/', pathNot: [tests, '\\.d\\.ts$'] },
      {},
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules|/dist/' },
    exclude: { path: '(^|/)dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      conditionNames: ['source', 'import', 'node', 'default'],
      exportsFields: ['exports'],
    },
  },
};
