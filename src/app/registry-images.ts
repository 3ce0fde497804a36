import { availableParallelism } from 'node:os';
import type { Config } from '../config/schema.ts';
import { boundedPulls } from '../pull/bounded.ts';
import { createManifestGate } from '../pull/manifest-gate.ts';
import { createPullSource, type PullSource } from '../pull/pull-source.ts';
import { createRepositoryContents } from '../pull/repository-contents.ts';
import type { DescribingClient } from '../registry/client.ts';
import type { KeyValueStore } from '../registry/manifest-store.ts';
import type { UpstreamBudgets, UpstreamLimits } from '../registry/upstream-budget.ts';
import { boundedReferrers, budgetedInspector, budgetedSource } from '../sources/budgeted.ts';
import { type ContentsSourceOptions, contentsSource } from '../sources/contents/contents-source.ts';
import { createImageContents, type ImageContentsOptions } from '../sources/contents/image-contents.ts';
import { createImageFiles, type ImageFiles } from '../sources/contents/image-files.ts';
import { inspectorWithDeadline, sourceWithDeadline } from '../sources/deadline.ts';
import { rememberingDocuments } from '../sources/documents.ts';
import type { FindReferrersOf, ImageInspector } from '../sources/image-catalogue.ts';
import type { Archive, ImageSource } from '../sources/image-source.ts';
import { createRegistryInspector } from '../sources/registry/catalogue.ts';
import type { InlineMemory } from '../sources/registry/inline-memory.ts';
import { createReferrerList } from '../sources/registry/referrer-list.ts';
import { createRegistrySource } from '../sources/registry/source.ts';
import { createImageSignatures } from '../sources/signatures/image-signatures.ts';
import type { TrustPolicy } from '../trust/trust-policy.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';

/** The images of registries, as one client of the registries finds them. */
export interface RegistryImages {
  readonly source: ImageSource<Archive>;
  readonly files: ImageFiles;
  readonly inspector: ImageInspector;
  /** Lists signatures, SBOMs, and other referrers. */
  readonly referrers: FindReferrersOf;
  /** For the registry API. */
  readonly pulls: PullSource;
}

export interface RegistryImagesParts
  extends Pick<ImageContentsOptions, 'tables' | 'locks' | 'gate' | 'memory'>,
    Pick<ContentsSourceOptions, 'hashes'> {
  readonly client: DescribingClient;
  readonly config: Config;
  readonly policy: TrustPolicy;
  readonly budgets: UpstreamBudgets;
  readonly caches: MemoryCaches;
  readonly inline: InlineMemory;
  /** Stores which blobs belong to which repositories. */
  readonly stores: readonly KeyValueStore[];
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** The budget of one signature check: 50 signatures under 10 referrers, and the requests that find them. */
const CHECK_LIMITS: UpstreamLimits = { requests: 200, bytes: 8 * 1024 * 1024, manifests: 40, blobs: 100 };
/** Maximum number of entries in the layers of an image whose files are requested. */
const FILES_MAX = 2_000_000;

/** Creates the parts for archives, details, and pulls on top of a registry client, with their own caches. */
export function openRegistryImages({
  client,
  config,
  policy,
  budgets,
  caches,
  inline,
  stores,
  now,
  hashes,
  ...contentsParts
}: RegistryImagesParts): RegistryImages {
  const { defaultPlatform } = config;
  const maxSize = config.maxImageSize === 0 ? Number.MAX_SAFE_INTEGER : config.maxImageSize;
  const documents = rememberingDocuments(caches);
  const signatures = createImageSignatures({
    ...{ client, policy, caches, documents },
    budgeted: (check) => budgets.run({ limits: CHECK_LIMITS }, check),
  });
  const contents = createRepositoryContents(stores, caches);
  const gate = createManifestGate({ client, policy, signatures, contents, documents });
  const pulls = createPullSource({ client, gate, contents, documents, inline, maxSize });
  const common = { client, defaultPlatform, maxSize, signatures, inline, documents };
  const resolving = sourceWithDeadline(
    budgetedSource(createRegistrySource({ ...common, caches, now }), budgets),
  );
  const contentsOfImages = createImageContents({
    ...{ ...contentsParts, caches, scansAtOnce: availableParallelism() },
    limits: {
      unpackedSize: config.maxUnpackedSize === 0 ? Number.MAX_SAFE_INTEGER : config.maxUnpackedSize,
      entries: FILES_MAX,
    },
  });
  return {
    source: contentsSource({ source: resolving, contents: contentsOfImages, hashes, maxSize }),
    files: createImageFiles(resolving, contentsOfImages, maxSize),
    inspector: inspectorWithDeadline(budgetedInspector(createRegistryInspector(common), budgets)),
    referrers: boundedReferrers(
      createReferrerList({ client, documents, defaultPlatform, caches, now }),
      budgets,
    ),
    pulls: boundedPulls(pulls, budgets),
  };
}
