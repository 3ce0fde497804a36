import { hash } from 'node:crypto';
import type { CatalogueError } from '../errors.ts';
import type { Addition, Count, CountingStore } from './counting-store.ts';
import { formatBytes, formatDuration, limitError } from './limit-error.ts';

/** How many bytes a client may fetch in a day, counted as they are sent. */
export interface ByteQuota {
  /** Bytes. */
  readonly limit: number;
  /**
   * Lets a part of an archive be sent, or says why not: a download is begun while something is left of the day's bytes,
   * and one that was begun is continued though nothing is.
   *
   * @throws CatalogueError `daily-bytes-used`
   */
  admit(client: string, part: ArchivePart): Promise<Meter>;
  /** Tells how many bytes were sent. */
  read(client: string): Promise<Count>;
  /** Saves what is counted. */
  close(): Promise<void>;
}

export interface ArchivePart {
  /** Undefined: an archive that is never the same again, so that nothing can be continued. */
  readonly etag: string | undefined;
  /** Bytes of the whole archive; 0 where nobody knows. */
  readonly size: number;
  /** Where it begins. */
  readonly start: number;
  /** Its bytes; 0 where nobody knows. */
  readonly length: number;
}

/** Counts one connection. */
export interface Meter {
  sent(bytes: number): void;
  /** To be called once, however the connection ended. */
  end(): void;
}

const DAY_MS = 86_400_000;
/** What is counted is saved after so many bytes, and after so many milliseconds: no chunk waits for it. */
const SAVE_BYTES = 64 * 2 ** 20;
const SAVE_MS = 5000;
/** An archive may be lost on the way once: so often its size is sent past the quota and before it, together. */
const SENDS_OF_AN_ARCHIVE = 2;

/** What this process knows and the store does not yet. */
interface Tally {
  unsaved: number;
  /** Bytes that connections still have to send. */
  due: number;
}

interface Account extends Tally {
  connections: number;
  /** By counter. */
  readonly archives: Map<string, Tally>;
}

export function createByteQuota(store: CountingStore, limit: number): ByteQuota {
  const accounts = new Map<string, Account>();
  let saving: NodeJS.Timeout | undefined;

  const save = async (clients: Iterable<[string, Account]>): Promise<void> => {
    const additions: Addition[] = [];
    for (const [client, account] of clients) {
      for (const [counter, tally] of [[bytesCounter(client), account] as const, ...account.archives]) {
        if (tally.unsaved > 0) additions.push({ counter, amount: tally.unsaved, window: DAY_MS });
        tally.unsaved = 0;
      }
    }
    if (additions.length > 0) await store.add(additions);
  };
  const open = (client: string): Account => {
    const account = { unsaved: 0, due: 0, connections: 0, archives: new Map<string, Tally>() };
    accounts.set(client, account);
    saving ??= setInterval(() => save(accounts), SAVE_MS);
    saving.unref();
    return account;
  };
  const leave = (client: string, account: Account): void => {
    account.connections -= 1;
    save([[client, account]]);
    for (const [counter, { due }] of account.archives) if (due === 0) account.archives.delete(counter);
    if (account.connections > 0) return;
    accounts.delete(client);
    if (accounts.size > 0) return;
    clearInterval(saving);
    saving = undefined;
  };

  const measure = (client: string, counter: string | undefined, length: number): Meter => {
    const account = accounts.get(client) ?? open(client);
    const tallies: Tally[] = [account];
    if (counter !== undefined) {
      const archive = account.archives.get(counter) ?? { unsaved: 0, due: 0 };
      account.archives.set(counter, archive);
      tallies.push(archive);
    }
    account.connections += 1;
    for (const tally of tallies) tally.due += length;
    let left = length;
    const settle = (bytes: number): void => {
      left -= bytes;
      for (const tally of tallies) tally.due -= bytes;
    };
    return {
      sent(bytes) {
        settle(Math.min(bytes, left));
        for (const tally of tallies) tally.unsaved += bytes;
        if (account.unsaved >= SAVE_BYTES) save([[client, account]]);
      },
      end() {
        settle(left);
        leave(client, account);
      },
    };
  };

  const read = async (client: string, counter?: string): Promise<{ all: Count; ofArchive: number }> => {
    const counters = [bytesCounter(client), ...(counter === undefined ? [] : [counter])];
    const [all = { value: 0, resetsIn: DAY_MS }, ofArchive] = await store.add(
      counters.map((name) => ({ counter: name, amount: 0, window: DAY_MS })),
    );
    const account = accounts.get(client);
    const unsaved = (counter !== undefined && account?.archives.get(counter)?.unsaved) || 0;
    return {
      all: { value: all.value + (account?.unsaved ?? 0), resetsIn: all.resetsIn },
      ofArchive: (ofArchive?.value ?? 0) + unsaved,
    };
  };

  return {
    limit,
    async admit(client, { etag, size, start, length }) {
      const counter = etag === undefined ? undefined : archiveCounter(client, etag);
      const { all, ofArchive } = await read(client, counter);
      const account = accounts.get(client);
      // What is on its way counts, too: or any number of connections could begin while a byte is left.
      const used = all.value + (account?.due ?? 0);
      const begun = ofArchive + ((counter !== undefined && account?.archives.get(counter)?.due) || 0);
      const isContinued =
        start > 0 &&
        begun > 0 &&
        begun + length <= SENDS_OF_AN_ARCHIVE * size &&
        // Whoever has begun a thousand archives does not get a thousand.
        used + length <= 2 * limit + size;
      if (used >= limit && !isContinued) throw refusal(limit, all.resetsIn);
      return measure(client, counter, length);
    },
    read: async (client) => (await read(client)).all,
    close: () => save(accounts),
  };
}

function bytesCounter(client: string): string {
  return `bytes ${client}`;
}

function archiveCounter(client: string, etag: string): string {
  return `archive ${client} ${hash('sha256', etag, 'base64url').slice(0, 22)}`;
}

function refusal(limit: number, resetsIn: number): CatalogueError {
  const wait = formatDuration(resetsIn);
  return limitError(
    'daily-bytes-used',
    { name: 'bytes', limit, freesIn: resetsIn },
    `Your address has fetched its ${formatBytes(limit)} of a day (DAILY_BYTES), or will with what is on its way; it may begin downloads again in ${wait}. One that was begun can be continued.`,
    `${formatBytes(limit)} a day are the limit; go on in ${wait}`,
  );
}
