import { useOwnTenant } from "@/api/session";
import { OverviewPage } from "./OverviewPage";
import { OwnHome } from "./OwnHome";

/** The first page: the installation for staff, their own tenant for its people. */
export function HomePage() {
  const tenant = useOwnTenant();
  return tenant ? <OwnHome tenant={tenant} /> : <OverviewPage />;
}
