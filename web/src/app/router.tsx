import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import { ApiError } from "@/api/problem";
import { queryClient } from "@/api/queryClient";
import { sessionQuery } from "@/api/session";
import { isRange, type RangeName } from "@/lib/ranges";
import { text } from "@/lib/search";
import { NotFound } from "./NotFound";
import { PageError } from "./PageError";
import { Shell } from "./Shell";

type Raw = Record<string, unknown>;

interface RequestSearch {
  range: RangeName;
  from: string;
  to: string;
  tenant: string;
  model: string;
  outcome: string;
  status: string;
  after: string;
  open: string;
}

interface ListSearch {
  q: string;
  status: string;
  tenant: string;
  after: string;
  open: string;
}

interface AuditSearch {
  kind: string;
  action: string;
  after: string;
  open: string;
}

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound });

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  validateSearch: (search: Raw): { next?: string } => ({ next: text(search.next) }),
  component: lazyRouteComponent(() => import("@/pages/sign-in/SignInPage"), "SignInPage"),
});

const setup = createRoute({
  getParentRoute: () => root,
  path: "/setup",
  component: lazyRouteComponent(() => import("@/pages/setup/SetupPage"), "SetupPage"),
});

/** Everything but the two pages above needs somebody to be signed in. */
const app = createRoute({
  getParentRoute: () => root,
  id: "app",
  component: Shell,
  errorComponent: PageError,
  beforeLoad: async ({ location }) => {
    try {
      await queryClient.ensureQueryData(sessionQuery);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        throw redirect({ to: "/sign-in", search: { next: location.href } });
      }
      throw error;
    }
  },
});

const overview = createRoute({
  getParentRoute: () => app,
  path: "/",
  validateSearch: (search: Raw): { range?: RangeName } => ({
    range: isRange(search.range) ? search.range : undefined,
  }),
  component: lazyRouteComponent(() => import("@/pages/overview/HomePage"), "HomePage"),
});

const requests = createRoute({
  getParentRoute: () => app,
  path: "/requests",
  validateSearch: (search: Raw): Partial<RequestSearch> => ({
    range: isRange(search.range) ? search.range : undefined,
    from: text(search.from),
    to: text(search.to),
    tenant: text(search.tenant),
    model: text(search.model),
    outcome: text(search.outcome),
    status: text(search.status),
    after: text(search.after),
    open: text(search.open),
  }),
  component: lazyRouteComponent(() => import("@/pages/requests/RequestsPage"), "RequestsPage"),
});

/** What the simple lists keep in the address: a filter, the page, and the row that is open. */
const listSearch = (search: Raw): Partial<ListSearch> => ({
  q: text(search.q),
  status: text(search.status),
  tenant: text(search.tenant),
  after: text(search.after),
  open: text(search.open),
});

const tenants = createRoute({
  getParentRoute: () => app,
  path: "/tenants",
  validateSearch: listSearch,
  component: lazyRouteComponent(() => import("@/pages/tenants/TenantsPage"), "TenantsPage"),
});

const tenantNew = createRoute({
  getParentRoute: () => app,
  path: "/tenants/new",
  component: lazyRouteComponent(() => import("@/pages/tenants/TenantNewPage"), "TenantNewPage"),
});

const tenantEdit = createRoute({
  getParentRoute: () => app,
  path: "/tenants/$id",
  component: lazyRouteComponent(() => import("@/pages/tenants/TenantEditPage"), "TenantEditPage"),
});

const keys = createRoute({
  getParentRoute: () => app,
  path: "/keys",
  validateSearch: listSearch,
  component: lazyRouteComponent(() => import("@/pages/keys/KeysPage"), "KeysPage"),
});

const keyNew = createRoute({
  getParentRoute: () => app,
  path: "/keys/new",
  validateSearch: (search: Raw): { tenant?: string } => ({ tenant: text(search.tenant) }),
  component: lazyRouteComponent(() => import("@/pages/keys/KeyNewPage"), "KeyNewPage"),
});

const keyEdit = createRoute({
  getParentRoute: () => app,
  path: "/keys/$id",
  component: lazyRouteComponent(() => import("@/pages/keys/KeyEditPage"), "KeyEditPage"),
});

const people = createRoute({
  getParentRoute: () => app,
  path: "/people",
  validateSearch: listSearch,
  component: lazyRouteComponent(() => import("@/pages/people/PeoplePage"), "PeoplePage"),
});

const availableModels = createRoute({
  getParentRoute: () => app,
  path: "/available-models",
  component: lazyRouteComponent(
    () => import("@/pages/models/AvailableModelsPage"),
    "AvailableModelsPage",
  ),
});

const upstreams = createRoute({
  getParentRoute: () => app,
  path: "/upstreams",
  validateSearch: listSearch,
  component: lazyRouteComponent(() => import("@/pages/upstreams/UpstreamsPage"), "UpstreamsPage"),
});

const upstreamNew = createRoute({
  getParentRoute: () => app,
  path: "/upstreams/new",
  component: lazyRouteComponent(
    () => import("@/pages/upstreams/UpstreamNewPage"),
    "UpstreamNewPage",
  ),
});

const upstreamEdit = createRoute({
  getParentRoute: () => app,
  path: "/upstreams/$id",
  component: lazyRouteComponent(
    () => import("@/pages/upstreams/UpstreamEditPage"),
    "UpstreamEditPage",
  ),
});

const models = createRoute({
  getParentRoute: () => app,
  path: "/models",
  validateSearch: listSearch,
  component: lazyRouteComponent(() => import("@/pages/models/ModelsPage"), "ModelsPage"),
});

const modelNew = createRoute({
  getParentRoute: () => app,
  path: "/models/new",
  component: lazyRouteComponent(() => import("@/pages/models/ModelNewPage"), "ModelNewPage"),
});

const modelEdit = createRoute({
  getParentRoute: () => app,
  path: "/models/$id",
  component: lazyRouteComponent(() => import("@/pages/models/ModelEditPage"), "ModelEditPage"),
});

const routes = createRoute({
  getParentRoute: () => app,
  path: "/routes",
  validateSearch: (search: Raw): { open?: string } => ({ open: text(search.open) }),
  component: lazyRouteComponent(() => import("@/pages/routes/RoutesPage"), "RoutesPage"),
});

const routeNew = createRoute({
  getParentRoute: () => app,
  path: "/routes/new",
  component: lazyRouteComponent(() => import("@/pages/routes/RouteNewPage"), "RouteNewPage"),
});

const routeEdit = createRoute({
  getParentRoute: () => app,
  path: "/routes/$id",
  component: lazyRouteComponent(() => import("@/pages/routes/RouteEditPage"), "RouteEditPage"),
});

const live = createRoute({
  getParentRoute: () => app,
  path: "/live",
  component: lazyRouteComponent(() => import("@/pages/live/LivePage"), "LivePage"),
});

const bills = createRoute({
  getParentRoute: () => app,
  path: "/bills",
  validateSearch: (search: Raw): { tenant?: string; period?: string } => ({
    tenant: text(search.tenant),
    period: text(search.period),
  }),
  component: lazyRouteComponent(() => import("@/pages/bills/BillsPage"), "BillsPage"),
});

const bill = createRoute({
  getParentRoute: () => app,
  path: "/bills/$tenant/$period",
  component: lazyRouteComponent(() => import("@/pages/bills/BillPage"), "BillPage"),
});

const vouchers = createRoute({
  getParentRoute: () => app,
  path: "/vouchers",
  validateSearch: (search: Raw): { state?: string; after?: string } => ({
    state: text(search.state),
    after: text(search.after),
  }),
  component: lazyRouteComponent(() => import("@/pages/vouchers/VouchersPage"), "VouchersPage"),
});

const alerts = createRoute({
  getParentRoute: () => app,
  path: "/alerts",
  validateSearch: (search: Raw): { state?: string; after?: string } => ({
    state: text(search.state),
    after: text(search.after),
  }),
  component: lazyRouteComponent(() => import("@/pages/alerts/AlertsPage"), "AlertsPage"),
});

const audit = createRoute({
  getParentRoute: () => app,
  path: "/audit",
  validateSearch: (search: Raw): Partial<AuditSearch> => ({
    kind: text(search.kind),
    action: text(search.action),
    after: text(search.after),
    open: text(search.open),
  }),
  component: lazyRouteComponent(() => import("@/pages/audit/AuditPage"), "AuditPage"),
});

export const router = createRouter({
  routeTree: root.addChildren([
    signIn,
    setup,
    app.addChildren([
      overview,
      requests,
      tenants,
      tenantNew,
      tenantEdit,
      keys,
      keyNew,
      keyEdit,
      people,
      availableModels,
      upstreams,
      upstreamNew,
      upstreamEdit,
      models,
      modelNew,
      modelEdit,
      routes,
      routeNew,
      routeEdit,
      live,
      bills,
      bill,
      vouchers,
      alerts,
      audit,
    ]),
  ]),
  defaultPreload: "intent",
  defaultErrorComponent: PageError,
  defaultNotFoundComponent: NotFound,
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
