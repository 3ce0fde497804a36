import { randomUUID } from 'node:crypto';
import { type MessagePort, parentPort, type Worker } from 'node:worker_threads';
import type { CertificateStore } from '../stores/certificate-store.ts';
import type { ChallengeResponder } from './challenge.ts';

/** The account of an order, and the responder to its challenges. */
export interface OrderStores {
  readonly accounts: Pick<CertificateStore, 'account' | 'putAccount'>;
  readonly challenges: ChallengeResponder;
}

type Calls = OrderStores['accounts'] & OrderStores['challenges'];

/** A call of a store from the thread of an ACME client. */
interface StoreCall {
  readonly kind: 'call';
  readonly id: string;
  readonly name: keyof Calls;
  readonly args: readonly unknown[];
}

/** The outcome of the order. */
interface StoreReply {
  readonly id: string;
  readonly result?: unknown;
  /** `code`: that of the system. */
  readonly error?: { readonly message: string; readonly code: unknown };
}

/** The message channel from the thread of an ACME client to the server. */
export function threadPort(): MessagePort {
  if (parentPort === null) throw new Error('This is not the thread of an ACME client');
  return parentPort;
}

/** The stores of the server, for the thread of an ACME client. */
export function storesFrom(port: MessagePort): OrderStores {
  const waiting = new Map<string, PromiseWithResolvers<unknown>>();
  port.on('message', ({ id, result, error }: StoreReply) => {
    const call = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) call?.resolve(result);
    else call?.reject(Object.assign(new Error(error.message), { code: error.code }));
  });
  const remote =
    <Name extends keyof Calls>(name: Name) =>
    (...args: Parameters<Calls[Name]>): ReturnType<Calls[Name]> => {
      const call: StoreCall = { kind: 'call', id: randomUUID(), name, args };
      const reply = Promise.withResolvers<unknown>();
      waiting.set(call.id, reply);
      port.postMessage(call);
      return reply.promise as ReturnType<Calls[Name]>;
    };
  return {
    accounts: { account: remote('account'), putAccount: remote('putAccount') },
    challenges: { present: remote('present'), spread: remote('spread'), cleanup: remote('cleanup') },
  };
}

/** Handles the calls of that thread. */
export function answerCalls(thread: Worker, { accounts, challenges }: OrderStores): void {
  const { account, putAccount } = accounts;
  const calls: Calls = { account, putAccount, ...challenges };
  thread.on('message', async (message: StoreCall | { readonly kind: 'other' }) => {
    if (message.kind !== 'call') return;
    const { id, name, args } = message;
    const call = calls[name] as (...args: readonly unknown[]) => Promise<unknown>;
    const reply = await call(...args).then(
      (result): StoreReply => ({ id, result }),
      ({ message: text, code }: NodeJS.ErrnoException): StoreReply => ({
        id,
        error: { message: text, code },
      }),
    );
    thread.postMessage(reply);
  });
}
