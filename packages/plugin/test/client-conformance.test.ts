import { describe, test } from 'vitest';
import { contracts } from '@sallyport/plugin';
import { clientConformance } from '@sallyport/plugin/testing';

for (const contract of contracts) {
  for (const transport of ['grpc', 'http'] as const) {
    describe(`a client of ${contract.kind} over ${transport}`, () => {
      for (const { name, run } of clientConformance({ contract, transport })) test(name, run);
    });
  }
}
