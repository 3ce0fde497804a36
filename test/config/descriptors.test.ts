import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  connectionsWithin,
  describeDescriptorShortage,
  descriptorLimitOf,
} from '../../src/config/descriptors.ts';

suite('descriptors of a process', () => {
  test('the soft limit is read from /proc/self/limits', () => {
    const limits = (soft: string): string =>
      [
        'Limit                     Soft Limit           Hard Limit           Units     ',
        'Max processes             15702                15702                processes ',
        `Max open files            ${soft.padEnd(21)}524288               files     `,
      ].join('\n');
    assert.equal(descriptorLimitOf(limits('1024')), 1024);
    assert.equal(descriptorLimitOf(limits('unlimited')), undefined);
    assert.equal(descriptorLimitOf(''), undefined);
  });

  test('the settings limit connections while descriptors suffice', () => {
    const settings = { maxConnections: 10_000, tls: 'off' } as const;
    assert.equal(connectionsWithin(settings, undefined), 10_000);
    assert.equal(connectionsWithin(settings, 65_536), 10_000);
    assert.equal(connectionsWithin({ ...settings, tls: 'acme' }, 65_536), 10_000);
    assert.equal(describeDescriptorShortage(settings, 1, 65_536), undefined);
    assert.equal(describeDescriptorShortage(settings, 1, undefined), undefined);
  });

  test('each connection counts for three descriptors, four with TLS, and some are reserved', () => {
    for (const tls of ['off', 'acme'] as const) {
      for (const limit of [200, 1024, 4096]) {
        const fitting = connectionsWithin({ maxConnections: 10_000, tls }, limit);
        assert.ok(fitting * (tls === 'off' ? 3 : 4) + 40 <= limit, `${tls} ${limit}`);
        assert.equal(connectionsWithin({ maxConnections: 0, tls }, limit), fitting);
        assert.equal(connectionsWithin({ maxConnections: 10, tls }, limit), 10);
      }
    }
    assert.equal(connectionsWithin({ maxConnections: 10_000, tls: 'off' }, 20), 1);
  });

  test('a shortage message names the limit, the possible connections, and what to do', () => {
    const settings = { maxConnections: 10_000, tls: 'off' } as const;
    assert.equal(
      describeDescriptorShortage(settings, 1, 1024),
      'The process may open 1024 descriptors and accepts only 325 connections instead of 10000. Raise the limit (LimitNOFILE= in systemd, --ulimit nofile= in Docker), or lower --max-connections.',
    );
    assert.match(
      describeDescriptorShortage(settings, 4, 1024) ?? '',
      /^Each of the 4 workers .* only 325 connections instead of 2500\./,
    );
    assert.equal(describeDescriptorShortage(settings, 40, 1024), undefined);
    assert.equal(describeDescriptorShortage({ ...settings, maxConnections: 0 }, 1, 1024), undefined);
  });
});
