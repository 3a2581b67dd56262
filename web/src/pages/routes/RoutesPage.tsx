import { IconPlus, IconRoute } from "@tabler/icons-react";
import { getRouteApi } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { useMay } from "@/api/session";
import { EmptyState } from "@/components/EmptyState";
import { ButtonLink } from "@/components/links";
import { PageHeader } from "@/components/PageHeader";
import { DataTable } from "@/components/table/DataTable";
import { useRouteColumns } from "./columns";
import { Explain } from "./Explain";
import { RouteDrawer } from "./RouteDrawer";

const here = getRouteApi("/app/routes");

/** The rules in the order they are tried, and the question where a request would go. */
export function RoutesPage() {
  const { t } = useTranslation("routes");
  const search = here.useSearch();
  const navigate = here.useNavigate();
  const may = useMay();
  const routes = api.useQuery("get", "/admin/v1/routes", {});
  const columns = useRouteColumns();
  const rows = routes.data?.data;
  const create = may("routes.write") ? (
    <ButtonLink to="/routes/new" leftSection={<IconPlus size={16} />}>
      {t("create")}
    </ButtonLink>
  ) : null;
  const open = (id: string | undefined) => void navigate({ search: { open: id }, replace: true });
  return (
    <>
      <PageHeader
        title={t("title")}
        purpose={t("purpose")}
        action={rows?.length === 0 ? null : create}
      />
      <DataTable
        label={t("title")}
        columns={columns}
        rows={rows}
        rowId={(route) => route.id}
        error={routes.error}
        onRetry={() => void routes.refetch()}
        openId={search.open}
        onOpen={(route) => open(route.id)}
        empty={
          <EmptyState icon={IconRoute} title={t("empty.title")} action={create}>
            {t("empty.body")}
          </EmptyState>
        }
      />
      <Explain />
      <RouteDrawer
        route={rows?.find(({ id }) => id === search.open)}
        onClose={() => open(undefined)}
      />
    </>
  );
}
