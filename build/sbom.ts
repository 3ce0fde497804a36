import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { bill } from './sbom-bill.ts';

/** Prints the software bill of materials of package-lock.json. */
const read = (name: string) => JSON.parse(readFileSync(join(import.meta.dirname, '..', name), 'utf8'));
const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? 0);
process.stdout.write(`${JSON.stringify(bill(read('package-lock.json'), new Date(epoch * 1000)), null, 2)}\n`);
