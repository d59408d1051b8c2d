import { describe, expect, test } from 'vitest';
import { openDevice } from './device.ts';
import { tunOptionsOf } from './options.ts';
import type { System } from './system.ts';

/** A system in which calls fail as a test says, and which counts what is open. */
function systemOf(failures: Partial<Record<keyof System, string>>, answer = 0) {
  let failure = '';
  let next = 3;
  const open = new Set<number>();
  const called: string[] = [];
  const call = (name: keyof System, value: () => number) => {
    called.push(name);
    const code = failures[name];
    if (code === undefined) return value();
    failure = code;
    return -1;
  };
  const opened = () => {
    open.add(next);
    return next++;
  };
  const system: System = {
    open: () => call('open', opened),
    ioctl: (_fd, _request, argument) =>
      call('ioctl', () => {
        if (argument[0] === 0) argument.write('tun0');
        return 0;
      }),
    pipe2: () => call('pipe2', () => 0),
    dup3: () => call('dup3', () => 0),
    close: (fd) => {
      expect(open.delete(fd)).toBe(true);
      return 0;
    },
    read: () => call('read', () => 0),
    write: () => call('write', () => 0),
    socket: () => call('socket', opened),
    send: (_fd, _bytes, length) => call('send', () => length),
    recv: (_fd, bytes) =>
      call('recv', () => {
        bytes.writeUInt16LE(2, 4);
        bytes.writeInt32LE(-answer, 16);
        return 36;
      }),
    deviceIndex: () => 7,
    failure: () => failure,
  };
  return { system, open, called };
}

const options = tunOptionsOf({
  name: 'net',
  net: [{ address: '192.0.2.1', length: 24 }],
  routes: [{ to: { address: '10.0.0.0', length: 8 }, gateway: '192.0.2.9' }],
});

describe('a device that cannot be made says why, and leaves nothing open', () => {
  test.each([
    [{ open: 'ENOENT' }, 'listenFailed', '/dev/net/tun cannot be opened: there is none'],
    [{ open: 'EACCES' }, 'listenFailed', 'permission denied'],
    [{ open: 'EMFILE' }, 'listenFailed', '/dev/net/tun cannot be opened: EMFILE'],
    [
      { ioctl: 'EPERM' },
      'listenFailed',
      'net cannot be made: permission denied; it needs the capability CAP_NET_ADMIN',
    ],
    [{ ioctl: 'EBUSY' }, 'addressInUse', 'net cannot be made: another program'],
    [{ ioctl: 'EINVAL' }, 'listenFailed', 'another kind of device'],
    [{ socket: 'EMFILE' }, 'listenFailed', 'net cannot be set up: EMFILE'],
    [{ send: 'ENOBUFS' }, 'listenFailed', 'net cannot be given the address 192.0.2.1/24: ENOBUFS'],
    [{ recv: 'EAGAIN' }, 'listenFailed', 'EAGAIN'],
    [{ pipe2: 'EMFILE' }, 'listenFailed', 'net cannot be read: EMFILE'],
  ] as const)('%j', (failures, code, message) => {
    const { system, open } = systemOf(failures);
    expect(() => openDevice(system, options)).toThrow(
      expect.objectContaining({ code, at: 'self', message: expect.stringContaining(message) as string }),
    );
    expect(open.size).toBe(0);
  });

  test('what the system does not want, by its number', () => {
    const { system, open } = systemOf({}, 101);
    expect(() => openDevice(system, options)).toThrow('192.0.2.1/24: ENETUNREACH');
    expect(open.size).toBe(0);
  });
});

describe('what a file leaves out', () => {
  test('is what GOST takes for it', () => {
    expect(tunOptionsOf({})).toEqual({ name: '', mtuBytes: 1420, addresses: [], routes: [] });
    expect(tunOptionsOf({ mtu: 0 }).mtuBytes).toBe(1420);
    expect(tunOptionsOf({ mtu: 9000 }).mtuBytes).toBe(9000);
    expect(tunOptionsOf({ mtu: 10 }).mtuBytes).toBe(68);
  });

  test('the gateway of all routes is for those of its family that name none', () => {
    const four = { address: '10.0.0.0', length: 8 };
    const six = { address: 'fd00::', length: 8 };
    const { routes } = tunOptionsOf({
      gw: '192.0.2.1',
      route: [{ to: four, gateway: undefined }],
      routes: [
        { to: four, gateway: '192.0.2.9' },
        { to: six, gateway: undefined },
      ],
    });
    expect(routes.map(({ gateway }) => gateway)).toEqual(['192.0.2.1', '192.0.2.9', undefined]);
  });
});
