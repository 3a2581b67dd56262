import type { components } from "./schema.gen";

/** Short names for the server's own types; nothing here is written by hand. */
type Schemas = components["schemas"];

export type ApiKey = Schemas["ApiKey"];
export type ApiKeyStatus = Schemas["ApiKeyStatus"];
export type ApiKeyWithSecret = Schemas["ApiKeyWithSecret"];
export type Attention = Schemas["Attention"];
export type AuditEvent = Schemas["AuditEvent"];
export type Bill = Schemas["Bill"];
export type BillSummary = Schemas["BillSummary"];
export type Bucket = Schemas["Bucket"];
export type ClassPrices = Schemas["ClassPrices"];
export type Credential = Schemas["Credential"];
export type Dialect = Schemas["Dialect"];
export type GettingStarted = Schemas["GettingStarted"];
export type Leader = Schemas["Leader"];
export type Limits = Schemas["Limits"];
export type Model = Schemas["Model"];
export type Outcome = Schemas["Outcome"];
export type Overview = Schemas["Overview"];
export type Permission = Schemas["Permission"];
export type PriceCreate = Schemas["PriceCreate"];
export type PriceVersion = Schemas["PriceVersion"];
export type RequestDetail = Schemas["RequestDetail"];
export type RequestSummary = Schemas["RequestSummary"];
export type Session = Schemas["Session"];
export type Target = Schemas["Target"];
export type Tenant = Schemas["Tenant"];
export type TestReport = Schemas["TestReport"];
export type Upstream = Schemas["Upstream"];
export type Usage = Schemas["Usage"];
export type UsageReport = Schemas["UsageReport"];
export type WindowTotals = Schemas["WindowTotals"];
