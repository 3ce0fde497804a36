import type { CertificateOrder, IssueFailure } from './issuer.ts';

/** The input of the thread of an ACME client. */
export interface WorkerTask {
  readonly order: CertificateOrder;
  /** A folder for files that the client might write. */
  readonly folder: string;
  /** Milliseconds that one request may take. */
  readonly requestTimeout: number;
}

/** A message of the thread, by `postMessage`. */
export type WorkerMessage =
  | { readonly kind: 'event'; readonly event: string; readonly details: string }
  | { readonly kind: 'issued'; readonly cert: string; readonly key: string }
  | { readonly kind: 'failed'; readonly failure: IssueFailure };
