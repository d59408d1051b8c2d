import type { JsonObject } from '@sallyport/plugin';
import type { Logger } from 'pino';
import type { EventSink } from '../../core/events.ts';
import { createObservation } from '../../observe/observation.ts';
import type { Observation } from '../../observe/observation.ts';
import { createFileSink } from '../../records/file-sink.ts';
import type { FileSink } from '../../records/file-sink.ts';
import { createPluginSink } from '../../records/plugin-sink.ts';
import { createRecords } from '../../records/records.ts';
import type { RecordSink } from '../../records/sink.ts';
import type { Config } from '../merge.ts';
import type { ServiceConfig } from '../sections/services.ts';
import { at } from './plugins.ts';
import type { Policies } from './policies.ts';

/** Who reads what becomes known of one service, and is told how it is doing. */
export interface ServiceReaders {
  readonly sinks: readonly EventSink[];
  /** It is going to be served. */
  started(): void;
  /** It is listening. */
  ready(): void;
  /** It cannot be served. */
  failed(error: unknown): void;
  /** Its last connection has ended. More than one call does no harm. */
  stopped(): void;
  /** It lives on elsewhere: it is not going to be said that it has ended. */
  gaveWay(): void;
}

/** The recorders and observers of a configuration. Whoever made them closes them, before the policies. */
export interface Readers {
  /** Opens the files of recorders. Rejects with ProxyError that begins with file, line and column. */
  open(): Promise<void>;
  of(service: string): ServiceReaders;
  /** These services live on in the next graph: they are not said to be closed when they have ended here. */
  giveWay(services: ReadonlySet<string>): void;
  /** Says of every service that has not ended that it is closed, and hands over what waits, within 5 s. Never rejects. */
  close(): Promise<void>;
}

type NamedService = ServiceConfig & { readonly name: string };

/** Makes what records and observes the services of a configuration. Nothing is opened yet. */
export function createReaders(config: Config, policies: Policies, log: Logger): Readers {
  const note = (text: string, level: 'info' | 'warn') => {
    log[level](text);
  };
  const sinks = new Map<string, RecordSink>();
  const files: { readonly sink: FileSink; readonly recorder: Config['recorders'][number] }[] = [];
  const observations: Observation[] = [];
  /** One recorder is one sink, whoever uses it. */
  const sinkOf = (name: string): RecordSink | undefined => {
    const recorder = config.recorders.find((one) => one.name === name);
    let sink = sinks.get(name);
    if (sink !== undefined || recorder === undefined) return sink;
    const policy = policies.group('recorder', [name]);
    if (policy !== undefined) sink = createPluginSink({ name, recorder: policy, note });
    else if (recorder.file !== undefined) {
      const { fileName: path, sep } = recorder.file;
      const file = createFileSink({ name, path, note, ...(sep !== undefined && { sep }) });
      files.push({ sink: file, recorder });
      sink = file;
    }
    if (sink !== undefined) sinks.set(name, sink);
    return sink;
  };

  const readersOf = (service: NamedService): ServiceReaders => {
    const { name, metadata, handler } = service;
    const readers: EventSink[] = [];
    const uses = (service.recorders ?? []).flatMap((use) => {
      const sink = sinkOf(use.name);
      const given = (use.metadata as JsonObject | undefined) ?? null;
      return sink === undefined ? [] : [{ record: use.record, sink, metadata: given }];
    });
    if (uses.length > 0) {
      readers.push(
        createRecords({
          ...{ service: name, uses, note },
          labels: Object.fromEntries(metadata?.labels ?? []),
          forwards: service.forwarder !== undefined,
          recordCredentials: config.compat.has('recordCredentials'),
          clientsDecide: config.compat.has('gostRecord'),
        }),
      );
    }
    const observe = (
      of: 'service' | 'users',
      observer: string | undefined,
      { periodMs, resetTraffic }: { periodMs: unknown; resetTraffic: unknown },
    ): Observation | undefined => {
      const policy = observer === undefined ? undefined : policies.group('observer', [observer]);
      if (policy === undefined) return undefined;
      const made = createObservation({
        ...{ service: name, of, observer: policy, note },
        ...(typeof periodMs === 'number' && { periodMs }),
        resetTraffic: resetTraffic === true,
        enableStats: metadata?.enableStats === true,
      });
      observations.push(made);
      readers.push(made.read);
      return made;
    };
    const whole = observe('service', service.observer, {
      periodMs: metadata?.observerPeriodMs,
      resetTraffic: metadata?.observerResetTraffic,
    });
    observe('users', handler?.observer, {
      periodMs: handler?.metadata?.['observerPeriodMs'],
      resetTraffic: handler?.metadata?.['observerResetTraffic'],
    });
    let isUp = false;
    return {
      sinks: readers,
      started() {
        isUp = true;
        whole?.tell('running');
      },
      ready: () => whole?.tell('ready'),
      failed(error) {
        isUp = false;
        whole?.tell('failed', error instanceof Error ? error.message : String(error));
      },
      stopped() {
        if (isUp) whole?.tell('closed');
        isUp = false;
      },
      gaveWay() {
        isUp = false;
      },
    };
  };
  const services = new Map(config.services.map((service) => [service.name, readersOf(service)]));

  return {
    async open() {
      for (const { sink, recorder } of files) {
        await sink.open().catch((error: unknown) => {
          throw at(recorder.at('file'), `${recorder.path()}.file.path`, error);
        });
      }
    },
    of: (service) => services.get(service)!,
    giveWay(names) {
      for (const [name, service] of services) if (names.has(name)) service.gaveWay();
    },
    async close() {
      for (const service of services.values()) service.stopped();
      // What is recorded and what is observed do not wait for each other.
      await Promise.all([...observations, ...sinks.values()].map((one) => one.close()));
    },
  };
}
