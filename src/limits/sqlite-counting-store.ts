import { randomUUID } from 'node:crypto';
import { closeSync, openSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { SharedCountingStore } from './buffered-counting-store.ts';
import {
  type Acquisition,
  type Addition,
  type Count,
  LEASE_MS,
  type Lease,
  type LeaseLimits,
} from './counting-store.ts';

/** Milliseconds that a process waits for another one's transaction, each of which takes microseconds. */
const BUSY_TIMEOUT_MS = 200;
/** Maximum number of counters, which take about 65 MB. Beyond it, those whose window ends first are removed. */
const MOST_COUNTERS = 500_000;
/** Expired counters are removed a few at a time, so that no request waits for a million of them. */
const SWEEP_MS = 1000;
const SWEEP_COUNTERS = 1000;
/** Milliseconds between counts of the counters. */
const CENSUS_MS = 60_000;

// A killed process leaves the log whole. Only a power failure can lose counts, which is acceptable.
const SETUP = `
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL, resets INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS counters_by_reset ON counters (resets);
CREATE TABLE IF NOT EXISTS leases (
  client TEXT NOT NULL, archive TEXT NOT NULL, holder TEXT NOT NULL, ends INTEGER NOT NULL,
  PRIMARY KEY (client, archive, holder)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS processes (id TEXT PRIMARY KEY, ends INTEGER NOT NULL) WITHOUT ROWID;
`;
// If the window of a counter ends later than a whole window from now, the clock was set back.
const ADD = `
INSERT INTO counters (name, value, resets) VALUES (:name, max(:amount, 0), :now + :window)
ON CONFLICT (name) DO UPDATE SET
  value = max(iif(resets <= :now OR resets > excluded.resets, 0, value) + :amount, 0),
  resets = iif(resets <= :now OR resets > excluded.resets, excluded.resets, resets)
RETURNING value, resets`;
const READ =
  'SELECT value, resets FROM counters WHERE name = :name AND resets BETWEEN :now + 1 AND :now + :window';

/**
 * Counts in a file of SQLite, which the processes of one machine share and which outlives them.
 *
 * @param path the file; its folder has to exist
 * @param now milliseconds since the epoch
 * @throws Error from SQLite, in every method
 */
export function openSqliteCountingStore(path: string, now: () => number): SharedCountingStore {
  const database = open(path);
  const add = database.prepare(ADD);
  const read = database.prepare(READ);
  const removeFirst = database.prepare(
    'DELETE FROM counters WHERE name IN (SELECT name FROM counters WHERE resets <= ? ORDER BY resets LIMIT ?)',
  );
  const countCounters = database.prepare('SELECT count(*) AS count FROM counters');
  const removeEnded = database.prepare('DELETE FROM leases WHERE ends <= ? OR ends > ?');
  const isHeld = database.prepare('SELECT 1 FROM leases WHERE client = ? AND archive = ?');
  const countOwn = database.prepare(
    'SELECT count(DISTINCT archive) AS count FROM leases WHERE client = ? AND ends > ?',
  );
  const countAll = database.prepare(
    'SELECT count(*) AS count FROM (SELECT DISTINCT client, archive FROM leases)',
  );
  const hold = database.prepare('INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)');
  const release = database.prepare('DELETE FROM leases WHERE client = ? AND archive = ? AND holder = ?');
  const id = randomUUID();
  const removeGone = database.prepare('DELETE FROM processes WHERE ends <= ? OR ends > ?');
  const attend = database.prepare('INSERT OR REPLACE INTO processes VALUES (?, ?)');
  const leave = database.prepare('DELETE FROM processes WHERE id = ?');
  const findOther = database.prepare('SELECT 1 FROM processes WHERE id <> ? AND ends > ? LIMIT 1');
  const begin = database.prepare('BEGIN IMMEDIATE');
  const commit = database.prepare('COMMIT');
  let waiting: {
    readonly additions: readonly Addition[];
    resolve(counts: Count[]): void;
    reject(error: unknown): void;
  }[] = [];
  let swept = Number.NEGATIVE_INFINITY;
  let counted = Number.NEGATIVE_INFINITY;
  let excess = 0;
  let isPresent = false;

  const atOnce = <T>(work: () => T): T => {
    begin.run();
    try {
      const result = work();
      commit.run();
      return result;
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
  };
  const count = (row: Record<string, unknown> | undefined): number => row?.count as number;
  const sweep = (at: number): void => {
    if (Math.abs(at - swept) < SWEEP_MS) return;
    swept = at;
    removeFirst.run(at, SWEEP_COUNTERS);
    if (Math.abs(at - counted) >= CENSUS_MS) {
      counted = at;
      excess = count(countCounters.get()) - MOST_COUNTERS;
    }
    if (excess <= 0) return;
    removeFirst.run(Number.MAX_SAFE_INTEGER, SWEEP_COUNTERS);
    excess -= SWEEP_COUNTERS;
  };
  const addOne = ({ counter: name, amount, window }: Addition): Count => {
    const at = now();
    const row =
      amount === 0 ? read.get({ name, now: at, window }) : add.get({ name, amount, now: at, window });
    if (row === undefined) return { value: 0, resetsIn: window };
    return { value: row.value as number, resetsIn: (row.resets as number) - at };
  };
  /** Adds for all requests of one turn of the event loop in one transaction, which costs more than its statements. */
  const addWaiting = (): void => {
    const requests = waiting;
    waiting = [];
    try {
      const counts = atOnce(() => {
        sweep(now());
        return requests.map(({ additions }) => additions.map(addOne));
      });
      for (const [at, { resolve }] of requests.entries()) resolve(counts[at] ?? []);
    } catch (error) {
      for (const { reject } of requests) reject(error);
    }
  };
  const holdOne = ({ client, archive, holder }: Lease): void => {
    hold.run(client, archive, holder, now() + LEASE_MS);
  };

  return {
    async add(additions) {
      if (additions.every(({ amount }) => amount === 0)) return additions.map(addOne);
      return new Promise((resolve, reject) => {
        if (waiting.length === 0) setImmediate(addWaiting);
        waiting.push({ additions, resolve, reject });
      });
    },
    acquire: async (lease, { perClient, total }: LeaseLimits): Promise<Acquisition> =>
      atOnce(() => {
        const { client, archive } = lease;
        removeEnded.run(now(), now() + LEASE_MS);
        if (isHeld.get(client, archive) === undefined) {
          if (perClient > 0 && count(countOwn.get(client, now())) >= perClient) return 'client-full';
          if (total > 0 && count(countAll.get()) >= total) return 'service-full';
        }
        holdOne(lease);
        return 'granted';
      }),
    async renew(held) {
      if (held.length > 0) atOnce(() => held.forEach(holdOne));
    },
    async release({ client, archive, holder }) {
      release.run(client, archive, holder);
    },
    active: async (client) => count(countOwn.get(client, now())),
    attend() {
      atOnce(() => {
        removeGone.run(now(), now() + LEASE_MS);
        attend.run(id, now() + LEASE_MS);
      });
      isPresent = true;
    },
    isShared: () => findOther.get(id, now()) !== undefined,
    close() {
      if (waiting.length > 0) addWaiting();
      try {
        if (isPresent) leave.run(id);
      } catch {
        // The entry expires.
      }
      database.close();
    },
  };
}

/** Opens the file. Replaces a damaged one, because the service matters more than its counts. */
function open(path: string): DatabaseSync {
  const database = openAsIs(path);
  if (database !== undefined) return database;
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
  const made = openAsIs(path);
  if (made === undefined) throw new Error(`${path} is broken as soon as it is made`);
  return made;
}

/** Undefined if the file is damaged. */
function openAsIs(path: string): DatabaseSync | undefined {
  // The file holds addresses of clients. SQLite creates its other files with the same permissions.
  closeSync(openSync(path, 'a', 0o600));
  const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    database.exec(SETUP);
    if (database.prepare('PRAGMA quick_check(1)').get()?.quick_check === 'ok') return database;
  } catch (error) {
    database.close();
    if (isBroken(error)) return undefined;
    throw error;
  }
  database.close();
  return undefined;
}

// https://www.sqlite.org/rescode.html
const SQLITE_ERROR = 1;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

function isBroken(error: unknown): boolean {
  if (!(error instanceof Error && 'errcode' in error)) return false;
  return [SQLITE_ERROR, SQLITE_CORRUPT, SQLITE_NOTADB].includes(error.errcode as number);
}
