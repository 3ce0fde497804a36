import type { Config } from '../config/schema.ts';
import type { PassedSockets } from '../systemd/sockets.ts';
import type { MetricsSnapshot } from '../telemetry/metrics.ts';
import type { ReadinessCheck } from '../telemetry/readiness.ts';
import type { Certificate } from '../tls/certificate.ts';

/**
 * A message from the primary to a worker. It includes the certificate's key, because the pipe is private to the two.
 */
export type ToWorker =
  | { readonly type: 'prepare'; readonly part: WorkerPart }
  /** The first worker opens the shared sockets, so that a failure is reported once. */
  | { readonly type: 'listen' }
  | { readonly type: 'certificate'; readonly certificate: Certificate }
  /** The status of the certificate, which the worker has requested. */
  | { readonly type: 'standing'; readonly check: ReadinessCheck }
  | { readonly type: 'measure' }
  | { readonly type: 'reload' }
  | { readonly type: 'stop' };

/** A message from a worker to the primary. */
export type ToPrimary =
  | { readonly type: 'prepared' }
  | { readonly type: 'listening'; readonly url: string; readonly lines: readonly string[] }
  | { readonly type: 'failed'; readonly failure: StartFailure }
  | { readonly type: 'check-certificate' }
  | { readonly type: 'measured'; readonly snapshot: MetricsSnapshot }
  /** The worker accepts no new connections, and exits after its current ones. */
  | { readonly type: 'stopping' };

/** The state of the whole service that a worker needs. */
export interface WorkerPart {
  /** The number of workers. */
  readonly workers: number;
  /** Settings of the running workers that only a restart changes. */
  readonly settings: Partial<Config>;
  readonly sockets: PassedSockets;
  /** Undefined where plain HTTP is served. */
  readonly certificate: Certificate | undefined;
}

/** The reason why a worker cannot start: mistakes in the settings, or a sentence that the operator can act on. */
export type StartFailure = { readonly mistakes: readonly string[] } | { readonly message: string };

/** The other end of the pipe. */
export interface Peer<Incoming, Outgoing> {
  /** Resolves once the message is written. A message to a process that has ended is lost. */
  send(message: Outgoing): Promise<void>;
  onMessage(take: (message: Incoming) => void): void;
  /** Called when the other process has ended or closed the pipe. */
  onGone(gone: () => void): void;
}
