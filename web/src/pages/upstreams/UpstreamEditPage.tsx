import { NumberInput, SimpleGrid, Skeleton, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import type { Upstream } from "@/api/types";
import { ErrorState } from "@/components/ErrorState";
import { FormPage, FormSection } from "@/components/form/FormPage";
import { proxyBody, proxyText } from "./proxies";
import { UpstreamRetire } from "./UpstreamRetire";
import { isHttpUrl, isProxy, NAME } from "./upstreamForm";

const route = getRouteApi("/app/upstreams/$id");

export function UpstreamEditPage() {
  const { id } = route.useParams();
  const upstream = api.useQuery(
    "get",
    "/admin/v1/upstreams/{id}",
    { params: { path: { id } } },
    { refetchOnWindowFocus: false },
  );
  if (upstream.error) {
    return <ErrorState error={upstream.error} onRetry={() => void upstream.refetch()} />;
  }
  if (!upstream.data) return <Skeleton height={420} maw={680} mx="auto" />;
  return (
    <UpstreamEdit
      key={upstream.data.version}
      upstream={upstream.data}
      onReload={() => void upstream.refetch()}
    />
  );
}

const TIMEOUTS = [
  ["connect_ms", "connect"],
  ["first_byte_ms", "firstByte"],
  ["first_token_ms", "firstToken"],
  ["stream_idle_ms", "idle"],
  ["total_ms", "total"],
] as const;

type TimeoutsInput = Record<keyof Upstream["timeouts"], number | "">;

function timeoutsInput(timeouts: Upstream["timeouts"]): TimeoutsInput {
  return {
    connect_ms: timeouts.connect_ms ?? "",
    first_byte_ms: timeouts.first_byte_ms ?? "",
    first_token_ms: timeouts.first_token_ms ?? "",
    stream_idle_ms: timeouts.stream_idle_ms ?? "",
    total_ms: timeouts.total_ms ?? "",
  };
}

function UpstreamEdit({ upstream, onReload }: { upstream: Upstream; onReload: () => void }) {
  const { t } = useTranslation(["upstreams", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("upstreams");
  const form = useForm({
    initialValues: {
      name: upstream.name,
      base_url: upstream.base_url,
      proxy: proxyText(upstream.proxy),
      timeouts: timeoutsInput(upstream.timeouts),
    },
    validateInputOnBlur: true,
    validate: {
      name: (value) => (NAME.test(value.trim()) ? null : t("nameRule")),
      base_url: (value) => (isHttpUrl(value) ? null : t("urlRule")),
      // A masked password comes back as it was shown; only a changed address is checked and sent.
      proxy: (value) =>
        value === proxyText(upstream.proxy) || isProxy(value) ? null : t("proxyRule"),
    },
  });
  const save = api.useMutation("patch", "/admin/v1/upstreams/{id}", {
    onSuccess: () => {
      changed();
      form.resetDirty();
      void navigate({ to: "/upstreams", search: { open: upstream.id }, ignoreBlocker: true });
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });
  const body = (values: typeof form.values) => {
    const timeout = (value: number | "") => (value === "" ? null : value);
    const proxy = values.proxy.trim();
    return {
      name: values.name.trim(),
      base_url: values.base_url.trim(),
      ...(proxy === proxyText(upstream.proxy) ? {} : { proxy: proxyBody(proxy) }),
      timeouts: {
        connect_ms: timeout(values.timeouts.connect_ms),
        first_byte_ms: timeout(values.timeouts.first_byte_ms),
        first_token_ms: timeout(values.timeouts.first_token_ms),
        stream_idle_ms: timeout(values.timeouts.stream_idle_ms),
        total_ms: timeout(values.timeouts.total_ms),
      },
    };
  };
  return (
    <FormPage
      title={upstream.name}
      purpose={t("editPurpose", { dialect: t(`common:dialect.${upstream.dialect}`) })}
      back={{ to: "/upstreams", name: t("title") }}
      submit={t("common:save")}
      error={save.error}
      saving={save.isPending}
      dirty={form.isDirty()}
      onReload={onReload}
      onSubmit={form.onSubmit((values) =>
        save.mutate({
          params: { path: { id: upstream.id }, header: ifMatch(upstream.version) },
          body: body(values),
        }),
      )}
      after={<UpstreamRetire upstream={upstream} />}
    >
      <FormSection title={t("about")}>
        <TextInput label={t("common:name")} {...form.getInputProps("name")} />
        <TextInput label={t("baseUrl")} type="url" {...form.getInputProps("base_url")} />
        <TextInput
          label={t("proxy")}
          description={t("proxyMasked")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          placeholder="socks5://user:password@host:1080"
          autoComplete="off"
          {...form.getInputProps("proxy")}
        />
      </FormSection>
      <FormSection title={t("timeouts.title")} help={t("timeouts.help")}>
        <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="md">
          {TIMEOUTS.map(([field, name]) => (
            <NumberInput
              key={field}
              label={t(`timeouts.${name}`)}
              suffix=" ms"
              min={1}
              allowDecimal={false}
              allowNegative={false}
              thousandSeparator=","
              hideControls
              placeholder={t("timeouts.default")}
              {...form.getInputProps(`timeouts.${field}`)}
            />
          ))}
        </SimpleGrid>
      </FormSection>
    </FormPage>
  );
}
