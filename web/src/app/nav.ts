import {
  IconActivity,
  IconBuilding,
  IconCpu,
  IconHistory,
  IconKey,
  IconLayoutDashboard,
  IconListDetails,
  IconReceipt2,
  IconRoute,
  IconServer2,
} from "@tabler/icons-react";

/** Grouped by job, not by feature; a link shows only to those who may read what it leads to. */
export const NAV = [
  {
    group: "watch",
    links: [
      { to: "/", key: "overview", icon: IconLayoutDashboard, needs: "overview.read", go: "o" },
      { to: "/requests", key: "requests", icon: IconListDetails, needs: "requests.read", go: "r" },
      { to: "/live", key: "live", icon: IconActivity, needs: "in_flight.read", go: "l" },
    ],
  },
  {
    group: "serve",
    links: [
      { to: "/upstreams", key: "upstreams", icon: IconServer2, needs: "upstreams.read", go: "u" },
      { to: "/models", key: "models", icon: IconCpu, needs: "models.read", go: "m" },
      { to: "/routes", key: "routes", icon: IconRoute, needs: "routes.read", go: "w" },
    ],
  },
  {
    group: "customers",
    links: [
      { to: "/tenants", key: "tenants", icon: IconBuilding, needs: "tenants.read", go: "t" },
      { to: "/keys", key: "keys", icon: IconKey, needs: "api_keys.read", go: "k" },
    ],
  },
  {
    group: "account",
    links: [
      { to: "/bills", key: "bills", icon: IconReceipt2, needs: "bills.read", go: "b" },
      { to: "/audit", key: "audit", icon: IconHistory, needs: "audit.read", go: "a" },
    ],
  },
] as const;
