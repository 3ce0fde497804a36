import type { RegistryRequest } from '../test/support/registry.ts';
import type { BenchImage } from './bench-image.ts';

/** The requests that a registry received, and the size of the image. */
export type Gets = {
  blobGets: number;
  blobs: number;
  manifestGets: number;
  manifests: number;
};

/** An index and the manifest that it has for our platform. */
const manifests = 2;

/** Counts the GETs for one image; HEADs send no content and cost no pull. */
export function countGets(requests: RegistryRequest[], image: Pick<BenchImage, 'blobUrls'>): Gets {
  const gets = requests.filter(({ method }) => method === 'GET').map(({ path }) => path);
  return {
    blobGets: gets.filter((path) => path.includes('/blobs/')).length,
    blobs: image.blobUrls.length,
    manifestGets: gets.filter((path) => path.includes('/manifests/')).length,
    manifests,
  };
}

export function describeGets({ blobGets, blobs, manifestGets, manifests }: Gets): string {
  return `the registry saw ${blobGets} GETs of ${blobs} blobs and ${manifestGets} of ${manifests} manifests`;
}
