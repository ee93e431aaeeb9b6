import { type AdminServer, createAdminServer } from '@dogwatch/process/admin-server.ts';
import { createAnnouncement } from '@dogwatch/process/announcement.ts';
import type { Check } from '@dogwatch/process/health.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Member } from './member.ts';
import type { MemberConfig } from './member-options.ts';

/** The admin server, and what says that the process serves: `announce` makes it, by default of the admin port alone. */
export function createAdmin(
  config: MemberConfig,
  { log, metrics, connected }: Member,
  options: { readonly checks?: readonly Check[]; readonly announce?: (admin: AdminServer) => Service & Check } = {},
): { readonly admin: AdminServer; readonly announcement: Service } {
  const checks: Check[] = [connected, ...(options.checks ?? [])];
  const admin = createAdminServer({ address: config.adminAddress, port: config.adminPort, checks, metrics, log });
  const alone = (): Service & Check =>
    createAnnouncement(log, async () => {
      const listening = await admin.listening.catch(() => undefined);
      return listening === undefined ? undefined : { adminPort: listening.port };
    });
  const announcement = options.announce?.(admin) ?? alone();
  checks.unshift(announcement);
  return { admin, announcement };
}
