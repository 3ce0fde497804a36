import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { type AddressRange, parseIpAddress } from '../util/ip-address.ts';

/** Decides which clients may use the service. */
export interface ClientList {
  /** @throws ServiceError `client-not-allowed` */
  check(address: string): void;
}

/** Admits the clients in the ranges of `allow`, or everyone without it. Always refuses the clients in `deny`. */
export function createClientList({
  allow,
  deny,
}: {
  /** Undefined: everyone. */
  allow: readonly AddressRange[] | undefined;
  deny: readonly AddressRange[];
}): ClientList {
  const isEveryone = allow === undefined && deny.length === 0;
  return {
    check(text) {
      if (isEveryone) return;
      const address = parseIpAddress(text);
      const isIn = (range: AddressRange): boolean => address !== undefined && range.contains(address);
      if ((allow?.some(isIn) ?? true) && !deny.some(isIn) && address !== undefined) return;
      throw new ServiceError('client-not-allowed', detail('client-refused', { address: text }), {
        reason: 'Your address may not use this service',
      });
    },
  };
}
