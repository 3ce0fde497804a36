import { readFile } from 'node:fs/promises';
import { isJsonObject, parseJsonObject } from '../../oci/json.ts';
import { replaceFile } from '../../replace-file.ts';
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
  let known: Promise<readonly Pulled[]> | undefined;
  let turn: Promise<unknown> = Promise.resolve();
  let removal: Promise<unknown> = Promise.resolve();

  /** One change after the other, each on the disk before the next begins. */
  const change = (make: (pulled: readonly Pulled[]) => readonly Pulled[]): Promise<readonly Pulled[]> => {
    const changed = turn.then(async () => {
      known ??= readRecord(file);
      const before = await known;
      const after = make(before);
      known = Promise.resolve(after);
      if (after !== before) await replaceFile(file, `${JSON.stringify({ images: after }, null, 1)}\n`);
      return after;
    });
    turn = changed.catch(() => {});
    return changed;
  };

  /** Between the changes, so that no request waits until an engine has removed an image. */
  const removeOldest = async (engineId: string, signal: AbortSignal): Promise<void> => {
    let left = (await change((pulled) => pulled)).filter((entry) => entry.engine === engineId);
    for (const entry of [...left].sort((a, b) => a.used - b.used)) {
      if (totalSize(left) <= keep) return;
      if (!(await remove(entry, signal))) continue;
      left = left.filter((other) => other !== entry);
      // Had it been pulled again meanwhile, it would have another entry.
      await change((pulled) => pulled.filter((other) => other !== entry));
    }
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
    async use(engineId, name, { id, size }, isNew) {
      await change((pulled) => {
        const isOurs = isNew || pulled.some((entry) => entry.engine === engineId && entry.id === id);
        if (!isOurs) return pulled;
        const others = pulled.filter(
          (entry) => !(entry.engine === engineId && entry.name === name && entry.id === id),
        );
        return [...others, { engine: engineId, name, id, size, used: now() }];
      });
    },

    removeSurplus(engineId, signal) {
      const removed = removal.then(() => removeOldest(engineId, signal));
      removal = removed.catch(() => {});
      return removed;
    },
  };
}

/** An image counts once, however many names it has. */
function totalSize(pulled: readonly Pulled[]): number {
  const sizes = new Map(pulled.map(({ id, size }) => [id, size]));
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
