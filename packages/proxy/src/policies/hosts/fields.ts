import { checked } from '../../schema/checked.ts';
import { list, mapping, optional, required, sections } from '../../schema/read.ts';
import { parseHostAddress, parseHostName } from './list.ts';

const hostName = checked('a host name', parseHostName);

/** The keys of a host mapper in the file that say what it is, beside its name and where mappings may also come from. */
export const hostsFields = {
  mappings: optional(
    sections(
      mapping({
        ip: required(checked('an IP address', parseHostAddress)),
        hostname: required(hostName),
        aliases: optional(list(hostName)),
      }),
    ),
  ),
};
