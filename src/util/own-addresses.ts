import { networkInterfaces } from 'node:os';

/** Returns the addresses of this machine. They can change: a temporary IPv6 address changes every day. */
export function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap(
    (addresses) => addresses?.map(({ address }) => address) ?? [],
  );
}
