#!/usr/bin/env node
// Committed so that npm can link the program before anything is built; the program itself is src/cli.ts.
import { main } from '../dist/cli.js';
await main(process.argv.slice(2));
