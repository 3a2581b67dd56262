import { Button, Group } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconDownload } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { client } from "@/api/client";
import type { Bill } from "@/api/types";
import { useErrorWords } from "@/components/useErrorWords";
import { saveFile } from "@/lib/saveFile";

/** The bill as files; fetched through the client, so that an ended session is renewed first. */
export function BillDownloads({ bill }: { bill: Bill }) {
  const { t } = useTranslation("bills");
  const words = useErrorWords();
  const name = `bill-${bill.tenant}-${bill.period}`;
  const csv = useMutation({
    mutationFn: async () => {
      const { data } = await client.GET("/admin/v1/bills/{tenant_id}/{period}.csv", {
        params: { path: { tenant_id: bill.tenant_id, period: bill.period } },
        parseAs: "text",
      });
      saveFile(`${name}.csv`, "text/csv", data ?? "");
    },
    onError: (error) => {
      const { title, advice } = words(error);
      notifications.show({ title, message: advice, color: "red" });
    },
  });
  return (
    <Group gap="xs">
      <Button
        leftSection={<IconDownload size={16} />}
        loading={csv.isPending}
        onClick={() => csv.mutate()}
      >
        {t("csv")}
      </Button>
      <Button
        variant="default"
        onClick={() => saveFile(`${name}.json`, "application/json", JSON.stringify(bill, null, 2))}
      >
        {t("json")}
      </Button>
    </Group>
  );
}
