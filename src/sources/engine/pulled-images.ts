import { readFile } from 'node:fs/promises';
import { isJsonObject, parseJsonObject } from '../../oci/json.ts';
import { replaceFile } from '../../util/atomic-file.ts';
import type { Engine, ListedImage } from './engine.ts';
import type { EngineImage } from './engine-images.ts';
import type { Leases } from './leases.ts';

type Listing = ReadonlyMap<string, ListedImage>;

/**
 * Remembers over restarts the images that this service pulled into an engine, and removes the least recently requested
 * ones. An image belongs to this service if one of its pulls brought the ID; a tag does if its pull created it. An
 * image with another user's tag stays, and does not count.
 */
export interface PulledImages {
  /** Records a request for an image. */
  used(engineId: string, image: EngineImage): Promise<void>;
  /**
   * Records the image that a pull gave a name.
   *
   * @param before the images of the engine before the pull
   */
  pulled(engineId: string, name: string, image: EngineImage, before: Listing): Promise<void>;
  /** Removes images until the rest has no more than the bytes to keep. */
  removeSurplus(engineId: string, signal: AbortSignal): Promise<void>;
}

export interface PulledImagesOptions {
  /** The path of the record. */
  readonly file: string;
  readonly engine: Engine;
  /** Names and IDs that are held are not removed. */
  readonly leases: Leases;
  /** Bytes. */
  readonly keep: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly onRemoved: (name: string) => void;
}

/** An image that our pull of a name brought. */
interface Pulled {
  readonly engine: string;
  readonly name: string;
  /** The ID in the engine's list. */
  readonly id: string;
  /** True if our pull created the name, too, so that no other user of the engine relies on it. */
  readonly isNameOurs: boolean;
  /** Milliseconds since the epoch. */
  readonly used: number;
}

export function createPulledImages(options: PulledImagesOptions): PulledImages {
  const { file, engine, leases, keep, now, onRemoved } = options;
  let known: Promise<readonly Pulled[]> | undefined;
  let turn: Promise<unknown> = Promise.resolve();
  let removal: Promise<unknown> = Promise.resolve();

  /** Changes run one at a time, and each is written to the disk before the next one starts. */
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
  // If the image had been used or pulled meanwhile, its entry would be a new object.
  const forget = (gone: readonly Pulled[]): Promise<unknown> =>
    change((all) => (gone.length === 0 ? all : all.filter((entry) => !gone.includes(entry))));

  /** Between the changes, so that no request waits until an engine has removed an image. */
  const removeOldest = async (engineId: string, signal: AbortSignal): Promise<void> => {
    const tried = new Set<string>();
    for (;;) {
      const record = (await change((all) => all)).filter((entry) => entry.engine === engineId);
      if (record.length === 0) return;
      const there = await engine.images(signal);
      await forget(record.filter(({ id }) => !there.has(id)));
      const ours = record.filter(({ id }) => isOurs(there.get(id), record, id));
      if (totalSize(ours, there) <= keep) return;
      const untried = ours.filter((entry) => !tried.has(keyOf(entry)));
      const [oldest] = untried.sort((a, b) => a.used - b.used);
      if (oldest === undefined) return;
      tried.add(keyOf(oldest));
      if (await remove(oldest, there.get(oldest.id)?.tags ?? [], signal)) await forget([oldest]);
    }
  };

  /** False if the image is still in use. */
  const remove = async (
    { name, id }: Pulled,
    tags: readonly string[],
    signal: AbortSignal,
  ): Promise<boolean> => {
    const hasName = tags.includes(name);
    // After a name moved to another image, this one may still have other names of ours.
    if (!hasName && tags.length > 0) return true;
    using nameLease = hasName ? leases.tryTake(name) : null;
    using idLease = leases.tryTake(id);
    if (nameLease === undefined || idLease === undefined) return false;
    const isRemoved = await engine.remove(hasName ? name : id, signal);
    if (isRemoved) onRemoved(name);
    return isRemoved;
  };

  return {
    async used(engineId, { listedId }) {
      await change((all) => touched(all, engineId, listedId, now()));
    },

    async pulled(engineId, name, { listedId: id }, before) {
      await change((all) => {
        const own = all.filter((entry) => entry.engine === engineId);
        const mine = own.some((entry) => entry.id === id);
        if (before.has(id) && !mine) return all;
        const used = now();
        const rest = touched(all, engineId, id, used);
        const [idBefore] = [...before].find(([, { tags }]) => tags.includes(name)) ?? [];
        const isNameOurs = idBefore === undefined || own.some(isOwnerOf(name, idBefore));
        if (rest.some((entry) => entry.engine === engineId && isOwnerOf(name, id)(entry))) return rest;
        const others = rest.filter(
          (entry) => !(entry.engine === engineId && entry.name === name && entry.id === id),
        );
        return [...others, { engine: engineId, name, id, isNameOurs, used }];
      });
    },

    removeSurplus(engineId, signal) {
      const removed = removal.then(() => removeOldest(engineId, signal));
      removal = removed.catch(() => {});
      return removed;
    },
  };
}

function isOwnerOf(name: string, id: string): (entry: Pulled) => boolean {
  return (entry) => entry.isNameOurs && entry.name === name && entry.id === id;
}

/** True if all tags that an image has are ours. */
function isOurs(image: ListedImage | undefined, record: readonly Pulled[], id: string): boolean {
  return image?.tags.every((tag) => record.some(isOwnerOf(tag, id))) ?? false;
}

function keyOf({ name, id }: Pulled): string {
  return `${name} ${id}`;
}

/** An image is as recent as the latest use of any of its names. */
function touched(all: readonly Pulled[], engineId: string, id: string, used: number): readonly Pulled[] {
  if (!all.some((entry) => entry.engine === engineId && entry.id === id)) return all;
  return all.map((entry) => (entry.engine === engineId && entry.id === id ? { ...entry, used } : entry));
}

/** An image counts once, however many names it has. */
function totalSize(pulled: readonly Pulled[], there: Listing): number {
  const ids = new Set(pulled.map(({ id }) => id));
  return [...ids].reduce((sum, id) => sum + (there.get(id)?.size ?? 0), 0);
}

async function readRecord(file: string): Promise<Pulled[]> {
  const content = await readFile(file).catch(() => undefined);
  const images = content && parseJsonObject(content)?.images;
  return Array.isArray(images) ? images.filter(isPulled) : [];
}

function isPulled(value: unknown): value is Pulled {
  if (!isJsonObject(value)) return false;
  const { engine, name, id, isNameOurs, used } = value;
  return (
    [engine, name, id].every((text) => typeof text === 'string') &&
    typeof isNameOurs === 'boolean' &&
    Number.isFinite(used)
  );
}
