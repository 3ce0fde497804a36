import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isJsonObject, parseJsonObject } from '../../oci/json.ts';
import type { Engine, EngineImage } from './engine.ts';
import type { Leases } from './leases.ts';

/** Remembers, over restarts, what this service pulled into an engine, and removes what was not asked for longest. */
export interface PulledImages {
  /**
   * Notes that an image was asked for. One that the service did not pull itself, now or earlier, is not noted, and so
   * never removed.
   */
  use(engineId: string, name: string, image: EngineImage, isNew: boolean): Promise<void>;
  /** Removes images until the rest has no more than the bytes to keep. */
  removeSurplus(engineId: string, signal: AbortSignal): Promise<void>;
}

export interface PulledImagesOptions {
  /** Where the record is kept. */
  readonly file: string;
  readonly engine: Engine;
  /** Names that are held are not removed. */
  readonly leases: Leases;
  /** Bytes. */
  readonly keep: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly onRemoved: (name: string) => void;
}

/** A name that an image got by being pulled. */
interface Pulled {
  readonly engine: string;
  readonly name: string;
  readonly id: string;
  /** Bytes, unpacked. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly used: number;
}

export function createPulledImages(options: PulledImagesOptions): PulledImages {
  const { file, engine, leases, keep, now, onRemoved } = options;
  let known: Promise<Pulled[]> | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  /** One change after the other, each on the disk before the next begins. */
  const change = (make: (pulled: readonly Pulled[]) => Promise<Pulled[]>): Promise<void> => {
    const changed = turn.then(async () => {
      known ??= readRecord(file);
      const before = await known;
      const after = await make(before);
      known = Promise.resolve(after);
      await writeRecord(file, after);
    });
    turn = changed.catch(() => {});
    return changed;
  };

  const remove = async ({ name, id }: Pulled, signal: AbortSignal): Promise<boolean> => {
    const release = leases.tryTake(name);
    if (release === undefined) return false;
    try {
      const current = await engine.inspect(name, undefined, signal);
      // A name that went to another image left this one without: then only its ID is left to remove it by.
      const isRemoved = await engine.remove(current?.id === id ? name : id, signal);
      if (isRemoved) onRemoved(name);
      return isRemoved;
    } finally {
      release();
    }
  };

  return {
    use: (engineId, name, { id, size }, isNew) =>
      change(async (pulled) => {
        const isOurs = isNew || pulled.some((entry) => entry.engine === engineId && entry.id === id);
        if (!isOurs) return [...pulled];
        const others = pulled.filter(
          (entry) => !(entry.engine === engineId && entry.name === name && entry.id === id),
        );
        return [...others, { engine: engineId, name, id, size, used: now() }];
      }),

    removeSurplus: (engineId, signal) =>
      change(async (pulled) => {
        let left = [...pulled];
        const oldestFirst = pulled
          .filter((entry) => entry.engine === engineId)
          .sort((a, b) => a.used - b.used);
        for (const entry of oldestFirst) {
          if (totalSize(left, engineId) <= keep) break;
          if (await remove(entry, signal)) left = left.filter((other) => other !== entry);
        }
        return left;
      }),
  };
}

/** An image counts once, however many names it has. */
function totalSize(pulled: readonly Pulled[], engineId: string): number {
  const sizes = new Map(pulled.filter(({ engine }) => engine === engineId).map(({ id, size }) => [id, size]));
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

async function readRecord(file: string): Promise<Pulled[]> {
  const content = await readFile(file).catch(() => undefined);
  const images = content && parseJsonObject(content)?.images;
  return Array.isArray(images) ? images.filter(isPulled) : [];
}

function isPulled(value: unknown): value is Pulled {
  if (!isJsonObject(value)) return false;
  const { engine, name, id, size, used } = value;
  return [engine, name, id].every((text) => typeof text === 'string') && [size, used].every(Number.isFinite);
}

/** Whole or not at all. */
async function writeRecord(file: string, images: readonly Pulled[]): Promise<void> {
  const temporary = `${file}.${randomUUID()}`;
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(temporary, `${JSON.stringify({ images }, null, 1)}\n`, { mode: 0o600 });
  await rename(temporary, file);
}
