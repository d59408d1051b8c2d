import { checked } from '../../schema/checked.ts';
import { mapping, optional, required, sections } from '../../schema/read.ts';
import { parseEndpoint, parseRuleHost } from './list.ts';

/** The keys of an ingress in the file that say what it is, beside its name and where rules may also come from. */
export const ingressFields = {
  rules: optional(
    sections(
      mapping({
        hostname: required(checked('a host name', parseRuleHost)),
        endpoint: required(checked("a tunnel's UUID", parseEndpoint)),
      }),
    ),
  ),
};
