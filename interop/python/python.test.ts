// Python's grpcio, with stubs made from our own .proto files.
import { existsSync } from 'node:fs';
import { peerSuite } from '../common/peer-suite.ts';

const here = import.meta.dirname;
const program = [`${here}/bin/venv/bin/python`, `${here}/peer.py`];

peerSuite({
  name: 'Python, grpcio',
  server: [...program, 'server'],
  client: [...program, 'client'],
  missing: existsSync(`${here}/bin/stubs/admission_pb2.py`)
    ? false
    : 'grpcio is not installed: interop/install.sh says why',
});
