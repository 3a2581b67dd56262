import {
  IconActivity,
  IconBell,
  IconBuilding,
  IconCpu,
  IconHistory,
  IconKey,
  IconLayoutDashboard,
  IconListDetails,
  IconReceipt2,
  IconRoute,
  IconServer2,
  IconTags,
  IconTicket,
  IconUsers,
} from "@tabler/icons-react";
import { useMay, useSession } from "@/api/session";

const NAV = [
  {
    group: "watch",
    links: [
      { to: "/", key: "overview", icon: IconLayoutDashboard, needs: "usage.read", go: "o" },
      { to: "/requests", key: "requests", icon: IconListDetails, needs: "requests.read", go: "r" },
      { to: "/live", key: "live", icon: IconActivity, needs: "in_flight.read", go: "l" },
    ],
  },
  {
    group: "serve",
    links: [
      { to: "/upstreams", key: "upstreams", icon: IconServer2, needs: "upstreams.read", go: "u" },
      { to: "/models", key: "models", icon: IconCpu, needs: "models.read", go: "m" },
      {
        to: "/available-models",
        key: "availableModels",
        icon: IconTags,
        needs: "available_models.read",
        only: "people of tenants",
        go: "m",
      },
      { to: "/routes", key: "routes", icon: IconRoute, needs: "routes.read", go: "w" },
    ],
  },
  {
    group: "customers",
    links: [
      { to: "/tenants", key: "tenants", icon: IconBuilding, needs: "tenants.read", go: "t" },
      { to: "/keys", key: "keys", icon: IconKey, needs: "api_keys.read", go: "k" },
      { to: "/people", key: "people", icon: IconUsers, needs: "users.read", go: "p" },
    ],
  },
  {
    group: "account",
    links: [
      { to: "/bills", key: "bills", icon: IconReceipt2, needs: "bills.read", go: "b" },
      { to: "/vouchers", key: "vouchers", icon: IconTicket, needs: "vouchers.read", go: "v" },
      { to: "/alerts", key: "alerts", icon: IconBell, needs: "notifications.read", go: "n" },
      { to: "/audit", key: "audit", icon: IconHistory, needs: "audit.read", go: "a" },
    ],
  },
] as const;

type Link = (typeof NAV)[number]["links"][number];

/** Grouped by job, not by feature; a link shows only to those who may read what it leads to and have a use for it. */
export function useNav(): { group: (typeof NAV)[number]["group"]; links: Link[] }[] {
  const may = useMay();
  const { tenant, role } = useSession();
  const shows = (link: Link) =>
    may(link.needs) &&
    // Staff has the models themselves.
    !("only" in link && tenant === null) &&
    // A member would see a list of one.
    !(link.to === "/people" && role === "tenant_member");
  return NAV.map(({ group, links }) => ({ group, links: links.filter(shows) })).filter(
    ({ links }) => links.length > 0,
  );
}
