import { api } from "@/api/client";
import { CHOICES } from "@/api/lists";
import { useMay } from "@/api/session";
import type { Money } from "@/lib/money";

export type MonthSpend = (tenantId: string) => Money[] | undefined;

/** What each tenant has spent in the current month, from its running bill; needs the right to read bills. */
export function useMonthSpend(): MonthSpend {
  const may = useMay();
  const bills = api.useQuery(
    "get",
    "/admin/v1/bills",
    { params: { query: { limit: CHOICES } } },
    { enabled: may("bills.read") },
  );
  return (tenantId) => {
    if (!bills.data) return undefined;
    return bills.data.data.find((bill) => bill.tenant_id === tenantId)?.totals ?? [];
  };
}
