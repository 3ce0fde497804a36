import { hash } from 'node:crypto';
import { detail } from '../errors/details.ts';
import type { ServiceError } from '../errors.ts';
import { formatBytes } from '../util/byte-size.ts';
import { formatDuration } from '../util/duration.ts';
import type { Addition, Count, CountingStore } from './counting-store.ts';
import { countInFlight, type InFlightBytes, isCovered } from './in-flight-bytes.ts';
import type { Limit, LimitKind } from './limit.ts';
import { limitError } from './limit-error.ts';

export const BYTES = {
  name: 'bytes',
  description: 'Bytes of downloads a day; null without a limit.',
  members: {
    limit: 'Bytes in 24 hours.',
    remaining: 'The remaining bytes.',
    resetsInSeconds: 'Seconds until all are left again.',
  },
} as const satisfies LimitKind;

/**
 * Limits the bytes of a client in a day. For each archive, it counts the sent bytes or, if these are more, the bytes
 * that were fetched from a registry for the client. Fetched bytes are not counted again when they are sent.
 */
export interface ByteQuota extends Limit<typeof BYTES> {
  /**
   * Permits a part of an archive, or explains the refusal. A download may start while any quota is left, and a started
   * one may continue without quota.
   *
   * @throws ServiceError `daily-bytes-used`
   */
  admit(client: string, part: ArchivePart): Promise<Meter>;
  /** Tells how many bytes were sent. */
  read(client: string): Promise<Count>;
  /** Saves what is counted. */
  close(): Promise<void>;
}

export interface ArchivePart {
  /** Undefined for an archive that is created for each request, so that no download of it can continue. */
  readonly etag: string | undefined;
  /** Bytes of the whole archive; 0 if unknown. */
  readonly size: number;
  /** The offset of the first byte. */
  readonly start: number;
  /** The length in bytes; 0 if unknown. */
  readonly length: number;
}

/** Counts one connection. */
export interface Meter {
  /**
   * Counts bytes before they are sent.
   *
   * @throws ServiceError `daily-bytes-used` if the bytes exceed the allowance past the quota
   */
  sent(bytes: number): void;
  /** Counts bytes that were fetched from a registry on behalf of the client, before they are sent. */
  fetched(bytes: number): void;
  /** Must be called once when the connection ends, even after a failure. */
  end(): void;
}

const DAY_MS = 86_400_000;
/** A started download is known for longer than its day, because it may break in the next one. */
const ARCHIVE_MS = 2 * DAY_MS;
/** Counts are saved after this number of bytes or milliseconds, so that no chunk waits for it. */
const SAVE_BYTES = 64 * 2 ** 20;
const SAVE_MS = 5000;
/** A client may receive the bytes of a started archive this many times in total, because one transfer can be lost. */
const SENDS_OF_AN_ARCHIVE = 2;
const NOTHING: Count = { value: 0, resetsIn: DAY_MS };

/** Bytes that were sent. */
interface Tally {
  /** The count in the store at the last read. */
  saved: number;
  unsaved: number;
}

interface Account extends Tally {
  connections: number;
  /** By counter. */
  readonly archives: Map<string, ArchiveTally>;
}

interface ArchiveTally extends Tally {
  readonly fetched: Tally;
  readonly flows: Set<Flow>;
}

/** The counters of a client and of an archive in the store. */
interface Looked {
  readonly all: Count;
  readonly sent: Count;
  readonly fetched: Count;
}

/** The bytes of an archive that a connection has yet to send. */
interface Flow extends InFlightBytes {
  at: number;
  /** True if quota was left when this download, of which this may be a further connection, started. */
  readonly isWithinDay: boolean;
}

export function createByteQuota(store: CountingStore, limit: number): ByteQuota {
  const accounts = new Map<string, Account>();
  let saving: NodeJS.Timeout | undefined;

  const save = async (clients: Iterable<[string, Account]>): Promise<void> => {
    const additions: Addition[] = [];
    const tallies: Tally[] = [];
    for (const [client, account] of clients) {
      const own = [
        [bytesCounter(client), DAY_MS, account] as const,
        ...[...account.archives].flatMap(([counter, tally]) => [
          [counter, ARCHIVE_MS, tally] as const,
          [fetchedCounter(counter), ARCHIVE_MS, tally.fetched] as const,
        ]),
      ];
      for (const [counter, window, tally] of own) {
        if (tally.unsaved === 0) continue;
        additions.push({ counter, amount: tally.unsaved, window });
        tallies.push(tally);
        tally.saved += tally.unsaved;
        tally.unsaved = 0;
      }
    }
    if (additions.length === 0) return;
    const counts = await store.add(additions);
    for (const [at, tally] of tallies.entries()) tally.saved = counts[at]?.value ?? tally.saved;
  };
  const enter = (client: string, account: Account): void => {
    account.connections += 1;
    accounts.set(client, account);
    saving ??= setInterval(() => save(accounts), SAVE_MS);
    saving.unref();
  };
  const leave = (client: string, account: Account): void => {
    account.connections -= 1;
    save([[client, account]]);
    for (const [counter, { flows }] of account.archives)
      if (flows.size === 0) account.archives.delete(counter);
    if (account.connections > 0) return;
    accounts.delete(client);
    if (accounts.size > 0) return;
    clearInterval(saving);
    saving = undefined;
  };

  const look = async (client: string, archive?: string): Promise<Looked> => {
    const ofClient = { counter: bytesCounter(client), amount: 0, window: DAY_MS };
    const ofArchive = (archive === undefined ? [] : [archive, fetchedCounter(archive)]).map((counter) => ({
      ...{ counter, amount: 0, window: ARCHIVE_MS },
    }));
    const [all = NOTHING, sent = NOTHING, fetched = NOTHING] = await store.add([ofClient, ...ofArchive]);
    return { all, sent, fetched };
  };
  /** Updates the known counters of a client. Does not add a new client yet. */
  const accountOf = (client: string, { value }: Count): Account => {
    const account = accounts.get(client) ?? { saved: 0, unsaved: 0, connections: 0, archives: new Map() };
    account.saved = value;
    return account;
  };
  const archiveOf = ({ archives }: Account, counter: string | undefined, looked: Looked): ArchiveTally => {
    const known = counter === undefined ? undefined : archives.get(counter);
    const archive = known ?? {
      ...{ saved: 0, unsaved: 0, flows: new Set<Flow>() },
      fetched: { saved: 0, unsaved: 0 },
    };
    archive.saved = looked.sent.value;
    archive.fetched.saved = looked.fetched.value;
    return archive;
  };

  const read = async (client: string): Promise<Count> => {
    const { all } = await look(client);
    return { value: sentOf(accountOf(client, all)), resetsIn: all.resetsIn };
  };

  return {
    name: BYTES.name,
    policyHeader: () => `"bytes";q=${limit};w=${DAY_MS / 1000};qu="content-bytes"`,
    async status(client) {
      const { value, resetsIn } = await read(client);
      return {
        limit,
        remaining: Math.max(limit - value, 0),
        resetsInSeconds: Math.ceil(resetsIn / 1000),
      };
    },
    async admit(client, { etag, size, start, length }) {
      const counter = etag === undefined ? undefined : archiveCounter(client, etag);
      const looked = await look(client, counter);
      const { all } = looked;
      // Don't await anything after this line, so that no other connection is admitted meanwhile.
      const account = accountOf(client, all);
      const archive = archiveOf(account, counter, looked);
      const range = { at: start, end: start + length };
      const begun = [...archive.flows];
      /**
       * A client that has begun a thousand archives cannot finish all of them. Twice the size, because another archive
       * of this size counts as soon as it is fetched ahead, although the client has received little of it.
       */
      const mostInAll = 2 * (limit + size);
      const mostOfArchive = SENDS_OF_AN_ARCHIVE * size;
      // Bytes in flight count, too. Otherwise, any number of connections could start while a byte is left.
      const used = sentOf(account) + dueOf(account);
      const withinDay = begun.filter(({ isWithinDay }) => isWithinDay);
      const isWithinDay = used < limit || isCovered(range, withinDay);
      const isContinued =
        (sentOf(archive) > 0 && sentOf(archive) < mostOfArchive && used < mostInAll) ||
        isCovered(range, begun);
      if (!isWithinDay && !isContinued) throw refusal(limit, all.resetsIn);

      const flow: Flow = { ...range, isWithinDay };
      enter(client, account);
      if (counter !== undefined) {
        account.archives.set(counter, archive);
        archive.flows.add(flow);
      }
      const count = (tally: Tally, bytes: number): void => {
        const before = countedOf(archive);
        tally.unsaved += bytes;
        account.unsaved += countedOf(archive) - before;
        if (account.unsaved >= SAVE_BYTES) save([[client, account]]);
      };
      return {
        sent(bytes) {
          flow.at += bytes;
          count(archive, bytes);
          // The connections together may send more than the quota that each was admitted for.
          const isTooMuch = sentOf(account) > mostInAll || (!isWithinDay && sentOf(archive) > mostOfArchive);
          if (counter !== undefined && isTooMuch) throw refusal(limit, all.resetsIn);
        },
        fetched(bytes) {
          count(archive.fetched, bytes);
        },
        end() {
          archive.flows.delete(flow);
          leave(client, account);
        },
      };
    },
    read,
    close: () => save(accounts),
  };
}

function sentOf({ saved, unsaved }: Tally): number {
  return saved + unsaved;
}

/** Returns the bytes of an archive that count toward the quota. */
function countedOf(archive: ArchiveTally): number {
  return Math.max(sentOf(archive), sentOf(archive.fetched));
}

/** Returns the bytes that a client's connections have yet to send and that don't count already. */
function dueOf({ archives }: Account): number {
  let due = 0;
  for (const archive of archives.values()) {
    const ahead = countedOf(archive) - sentOf(archive);
    due += Math.max(countInFlight(archive.flows) - ahead, 0);
  }
  return due;
}

function bytesCounter(client: string): string {
  return `bytes ${client}`;
}

function archiveCounter(client: string, etag: string): string {
  return `archive ${client} ${hash('sha256', etag, 'base64url').slice(0, 22)}`;
}

/** @param archive the counter of the archive's sent bytes */
function fetchedCounter(archive: string): string {
  return `${archive} fetched`;
}

function refusal(limit: number, resetsIn: number): ServiceError {
  const wait = formatDuration(resetsIn);
  return limitError(
    'daily-bytes-used',
    { name: 'bytes', limit, freesIn: resetsIn },
    detail('bytes-exceeded', { limit: formatBytes(limit), wait: { milliseconds: resetsIn } }),
    `${formatBytes(limit)} a day are the limit; go on in ${wait}`,
  );
}
