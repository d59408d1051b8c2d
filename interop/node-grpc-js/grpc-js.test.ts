// Node's grpc-js, which loads our own .proto files as they are.
import { existsSync } from 'node:fs';
import { peerSuite } from '../common/peer-suite.ts';

const here = import.meta.dirname;
const program = [process.execPath, `${here}/peer.js`];

peerSuite({
  name: 'Node, grpc-js',
  server: [...program, 'server'],
  client: [...program, 'client'],
  missing: existsSync(`${here}/node_modules/@grpc/grpc-js`)
    ? false
    : 'grpc-js is not installed: interop/install.sh says why',
});
