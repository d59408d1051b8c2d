// grpc-go with the modules' published stubs, as GOST itself uses them.
import { existsSync } from 'node:fs';
import { peerSuite } from '../common/peer-suite.ts';

const bin = `${import.meta.dirname}/bin`;

peerSuite({
  name: 'Go, grpc-go and go-gost/plugin',
  server: [`${bin}/server`],
  client: [`${bin}/client`],
  missing: existsSync(`${bin}/client`) ? false : 'the Go programs are not built: interop/install.sh says why',
});
