import type { Transfers } from './curl.ts';
import { type Figures, median } from './figures.ts';
import { startMeter } from './server-meter.ts';

export interface MeasuredServer {
  pid: number;
  idleBytes: number;
}

export interface ServerMeasurement {
  figures: Figures;
  transfers: Transfers;
  /** Other measured values to keep. */
  details: Record<string, number>;
}

/** Measures a server and its clients while these download at least `imageBytes` together. */
export async function measureServer(
  { pid, idleBytes }: MeasuredServer,
  imageBytes: number,
  download: () => Promise<Transfers>,
): Promise<ServerMeasurement> {
  const costSoFar = startMeter(pid, idleBytes);
  const transfers = await download();
  if (transfers.bytes < imageBytes) throw new Error(`${transfers.bytes} of ${imageBytes} bytes came`);
  const firstBytes = transfers.transfers.map(({ firstByteMs }) => firstByteMs);
  return {
    figures: {
      firstByteMs: median(firstBytes),
      seconds: transfers.seconds,
      imageBytes,
      ...costSoFar(),
      clientCpuShare: transfers.client.cpuSeconds / transfers.seconds,
    },
    transfers,
    details: { slowestFirstByteMs: Math.max(...firstBytes) },
  };
}

/** Several URLs are parts of one image, fetched one after the other: the first byte is that of the first. */
export function asOneImage({ transfers, ...rest }: Transfers): Transfers {
  const [first] = transfers;
  return { transfers: first ? [first] : [], ...rest };
}
