import officialImages from './official-images.json' with { type: 'json' };

/** Images that share layers, for a simulation: their blobs have numbers from 0 on. */
export interface ImageInspector {
  /** Returns the blobs of an image on a day: its manifest, then its layers. */
  blobsOf(image: number, day: number): readonly number[];
  /** Bytes of all blobs so far, by number. */
  readonly sizes: readonly number[];
}

/** The assumptions of the simulation, which docs/scaling.md explains. */
export const ASSUMED = {
  /** The share of images that are versions of an official image. The others are applications on top of one. */
  shareOfVersions: 1 / 3,
  /** The share of images with tags such as `latest`, which move with each build. The others never change. */
  shareOfMovingTags: 0.3,
  daysBetweenBuilds: 30,
  /** The period in days during which the unchanging images were built. */
  months: 12,
  /** The maximum of an application's own layers, each as large as some layer of an official image. */
  mostOwnLayers: 6,
  /** Bytes of an index and a manifest with its config. */
  manifestBytes: 10_000,
} as const;

interface Base {
  readonly from?: string;
  readonly layers: readonly number[];
}
const BASES: Readonly<Record<string, Base>> = officialImages.bases;
const OWN_LAYERS = officialImages.images.flatMap(({ layers }) => layers).filter((bytes) => bytes >= 1000);

/** Makes a number of images; the same random numbers produce the same images. */
export function createImageCatalogue(count: number, random: () => number): ImageInspector {
  const sizes: number[] = [];
  const known = new Map<string, number>();
  const below = (limit: number): number => Math.floor(random() * limit);
  const images = Array.from({ length: count }, () => ({
    official: officialImages.images[below(officialImages.images.length)] ?? officialImages.images[0],
    isVersion: random() < ASSUMED.shareOfVersions,
    moves: random() < ASSUMED.shareOfMovingTags,
    /** The phase of the builds, in days; the age of an image that never changes. */
    phase: random() * ASSUMED.daysBetweenBuilds,
    month: below(ASSUMED.months),
    ownLayers: Array.from(
      { length: 1 + below(ASSUMED.mostOwnLayers) },
      () => OWN_LAYERS[below(OWN_LAYERS.length)] ?? 0,
    ),
  }));

  const blob = (name: string, bytes: number): number => {
    const number = known.get(name) ?? sizes.push(bytes) - 1;
    known.set(name, number);
    return number;
  };
  const blobs = (name: string, layers: readonly number[]): number[] =>
    layers.map((bytes, at) => blob(`${name} ${at}`, bytes));
  /** All applications that were built in one month use the same version of a base image. */
  const baseBlobs = (name: string, month: number): number[] => {
    const { from, layers } = BASES[name] ?? { layers: [] };
    return [...(from === undefined ? [] : baseBlobs(from, month)), ...blobs(`${name} ${month}`, layers)];
  };

  const build = (at: number, number: number, month: number): readonly number[] => {
    const image = images[at];
    if (image?.official === undefined) return [];
    const { name, from, layers } = image.official;
    const own = `image ${at} ${number}`;
    const manifest = blob(`${own} manifest`, ASSUMED.manifestBytes);
    const base = baseBlobs(from, month);
    if (image.isVersion) return [manifest, ...base, ...blobs(own, layers)];
    return [manifest, ...base, ...blobs(`${name} ${month}`, layers), ...blobs(own, image.ownLayers)];
  };

  const builds = new Map<number, readonly number[]>();
  return {
    sizes,
    blobsOf(at, day) {
      const image = images[at];
      const number = image?.moves ? Math.floor((day + image.phase) / ASSUMED.daysBetweenBuilds) : 0;
      const key = number * count + at;
      const month = image?.moves ? ASSUMED.months - 1 + number : (image?.month ?? 0);
      const found = builds.get(key) ?? build(at, number, month);
      builds.set(key, found);
      return found;
    },
  };
}
