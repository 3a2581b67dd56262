import audit from "./audit.json";
import auth from "./auth.json";
import balances from "./balances.json";
import bills from "./bills.json";
import common from "./common.json";
import errors from "./errors.json";
import keys from "./keys.json";
import live from "./live.json";
import models from "./models.json";
import overview from "./overview.json";
import people from "./people.json";
import requests from "./requests.json";
import routes from "./routes.json";
import tenants from "./tenants.json";
import upstreams from "./upstreams.json";

export default {
  audit,
  auth,
  balances,
  bills,
  common,
  errors,
  keys,
  live,
  models,
  overview,
  people,
  requests,
  routes,
  tenants,
  upstreams,
};
