import { endianness } from 'node:os';
import { getSystemErrorName } from 'node:util';
import type * as Koffi from 'koffi';
import { ProxyError } from '../../core/errors.ts';

/** The calls of the C library that Node has no words for. Each answers -1 where it fails, and {@link System.failure} says why. */
export interface System {
  open(path: string, flags: number): number;
  ioctl(fd: number, request: number, argument: Buffer): number;
  /** Fills the two descriptors in. */
  pipe2(fds: number[], flags: number): number;
  dup3(from: number, to: number, flags: number): number;
  close(fd: number): number;
  /** Fills the bytes from their beginning. */
  read(fd: number, bytes: Buffer, length: number): number;
  write(fd: number, bytes: Uint8Array, length: number): number;
  socket(family: number, type: number, protocol: number): number;
  send(fd: number, bytes: Buffer, length: number, flags: number): number;
  recv(fd: number, bytes: Buffer, length: number, flags: number): number;
  /** 0 where there is no such device. */
  deviceIndex(name: string): number;
  /** The name of the last call's error: `EPERM`. */
  failure(): string;
}

/** O_CLOEXEC, which Node has no name for: the same on all machines that Node runs on under Linux. */
export const closeOnExec = 0o2000000;

let loaded: Promise<System> | undefined;

/** Loads what devices are reached through, once. Rejects with ProxyError `unsupported` where that is not to be had. */
export function loadSystem(): Promise<System> {
  return (loaded ??= load());
}

async function load(): Promise<System> {
  if (process.platform !== 'linux' || endianness() !== 'LE')
    throw new ProxyError(
      'unsupported',
      'self',
      'listener `tun` makes a network device of Linux, and runs nowhere else',
    );
  let koffi: typeof Koffi;
  try {
    ({ default: koffi } = (await import('koffi')) as unknown as { default: typeof Koffi });
  } catch (cause) {
    const message =
      'listener `tun` needs the package `koffi`, which is not installed; `npm install koffi` beside this program installs it';
    throw new ProxyError('unsupported', 'self', message, { cause });
  }
  const library = koffi.load(null);
  const bind = <F>(definition: string) => library.func(definition) as unknown as F;
  const ioctl = bind<(...args: unknown[]) => number>('int ioctl(int fd, unsigned long request, ...)');
  return {
    open: bind('int open(const char *path, int flags)'),
    ioctl: (fd, request, argument) => ioctl(fd, request, 'void *', argument),
    pipe2: bind('int pipe2(_Out_ int *fds, int flags)'),
    dup3: bind('int dup3(int from, int to, int flags)'),
    close: bind('int close(int fd)'),
    read: bind('long read(int fd, void *bytes, size_t length)'),
    write: bind('long write(int fd, const void *bytes, size_t length)'),
    socket: bind('int socket(int family, int type, int protocol)'),
    send: bind('long send(int fd, const void *bytes, size_t length, int flags)'),
    recv: bind('long recv(int fd, void *bytes, size_t length, int flags)'),
    deviceIndex: bind('unsigned int if_nametoindex(const char *name)'),
    failure: () => getSystemErrorName(-koffi.errno()),
  };
}
