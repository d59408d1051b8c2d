import type { Routes } from './routes.ts';

/** What of the server's address and security a proxy's configuration must repeat. */
export interface InfoOptions {
  /** As the asker reached us: `127.0.0.1:8000`. */
  readonly addr: string;
  readonly hasToken: boolean;
  readonly hasTls: boolean;
}

/** The answer to a plain `GET /`: what is served, and how a proxy is told about it. It holds no secret. */
export function describeServer({ modules }: Routes, { addr, hasToken, hasTls }: InfoOptions): string {
  const common = { ...(hasToken ? { token: '(the token)' } : {}), ...(hasTls ? { tls: {} } : {}) };
  const info = {
    modules: modules.map(({ contract }) => ({
      module: contract.kind,
      methods: Object.entries(contract.methods).map(([name, method]) => ({
        name,
        grpc: `/${contract.service}/${method.rpc}`,
        http: `${method.http.verb} /${contract.kind}`,
      })),
      configuration: {
        [contract.section]: [{ name: `${contract.kind}-0`, plugin: { type: 'grpc', addr, ...common } }],
      },
    })),
    token: hasToken ? 'asked for' : 'none',
    tls: hasTls,
    health: 'grpc.health.v1.Health/Check',
    hint: 'Over HTTP write "type: http" and the same addr; the path is added by the proxy.',
  };
  return `${JSON.stringify(info, null, 2)}\n`;
}
