import { ServiceError } from '../errors.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { type Circuit, type CircuitOptions, createCircuit } from './circuit.ts';

/** Remembers registries that accept no connections although their mirrors respond. */
export interface OriginOutages {
  /** Returns the reason not to ask a registry now; undefined if it may be asked. Admits one try after each pause. */
  find(domain: string): ServiceError | undefined;
  /** Notes a failed request. An error response ends the outage; a timeout changes nothing. */
  note(domain: string, error: unknown): void;
  /** Notes a successful request. */
  end(domain: string): void;
}

export interface OriginOutagesOptions extends Pick<CircuitOptions, 'now' | 'random'> {
  /** Called once when a registry becomes unreachable, with the milliseconds of the first pause. */
  readonly onOpen: (domain: string, error: Error, pause: number) => void;
  /** Called once when a registry becomes reachable again. */
  readonly onClose: (domain: string) => void;
  /** The list of in-memory caches. */
  readonly caches?: MemoryCaches;
}

interface Outage {
  readonly circuit: Circuit;
  readonly error: ServiceError;
}

/** Maximum bytes: about 1,000 registries, because clients choose their names. */
const LIMIT = 1024 * 1024;

export function createOriginOutages({
  now,
  random,
  onOpen,
  onClose,
  caches = createMemoryCaches(now),
}: OriginOutagesOptions): OriginOutages {
  const outages = caches.open<Outage>({ name: 'unreachable-registries', limit: LIMIT });
  const end = (domain: string): void => {
    outages.get(domain)?.circuit.succeeded();
    outages.delete(domain);
  };
  const circuitOf = (domain: string): Circuit =>
    createCircuit({
      ...{ now, random },
      onOpen: (error, pause) => onOpen(domain, error, pause),
      onClose: () => onClose(domain),
    });
  return {
    find(domain) {
      const outage = outages.get(domain);
      return outage?.circuit.admits() === false ? outage.error : undefined;
    },
    note(domain, error) {
      if (!(error instanceof ServiceError)) return;
      if (!error.isUnreachable) return error.code === 'registry-timeout' ? undefined : end(domain);
      const { circuit } = outages.get(domain) ?? { circuit: circuitOf(domain) };
      circuit.failed(error);
      outages.set(domain, { circuit, error });
    },
    end,
  };
}
