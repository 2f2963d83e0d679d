// The API's operations (the contract, section 5): paths and methods to calls on the registrar and the data
// plane, answers to JSON. Stateless between requests; called by the HTTP server's workers, several at
// once. Every POST answers after the change is durable and in force, for the registrar says so.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

#include "admin/api/http_server.h"
#include "admin/metrics.h"
#include "cache/registrar.h"
#include "proxy/data_plane.h"

namespace sallyport {

class AdminApi final : public HttpHandler {
 public:
  // All outlive the API. `probes` serves /livez, /readyz and /metrics, which the admin socket has too.
  AdminApi(Registrar& registrar, DataPlane& plane, HttpHandler& probes, const RegistryConfig& registry,
           std::int64_t started_at, Logger& log);

  HttpResponse handle(const HttpRequest& request) override;

 private:
  HttpResponse codes(const HttpRequest& request);
  HttpResponse cas(const HttpRequest& request, std::string_view rest);
  HttpResponse list_cas(const HttpRequest& request);
  HttpResponse register_ca(const HttpRequest& request);
  HttpResponse devices(const HttpRequest& request, std::string_view rest);
  HttpResponse list_devices(const HttpRequest& request);
  HttpResponse listeners() const;
  HttpResponse status() const;

  Answer<CaRecord> find_ca(std::string_view reference) const;
  Answer<DeviceRecord> find_device(std::string_view reference) const;
  HttpResponse ca_answer(const Answer<CaRecord>& answer);
  HttpResponse device_answer(const Answer<DeviceRecord>& answer);

  Registrar& registrar_;
  DataPlane& plane_;
  HttpHandler& probes_;
  const RegistryConfig& registry_;
  std::int64_t started_at_;
  Logger& log_;  // guarded by log_mutex_: several workers, one producer
  std::mutex log_mutex_;
};

}  // namespace sallyport
