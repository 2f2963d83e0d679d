// libpq, loaded when a registry is shared, and not before: it brings LDAP, Kerberos and GnuTLS along, which are 19
// libraries and 4 MB that nobody needs for a registry of its own. For pg_connection.cc and pg_url.cc alone.
#pragma once

#include <libpq-fe.h>

#include <string>
#include <string_view>

namespace sallyport {

// Its functions under their own names.
struct Libpq {
  decltype(::PQclear)* PQclear = nullptr;
  decltype(::PQcmdTuples)* PQcmdTuples = nullptr;
  decltype(::PQconnectPoll)* PQconnectPoll = nullptr;
  decltype(::PQconnectStartParams)* PQconnectStartParams = nullptr;
  decltype(::PQconninfoFree)* PQconninfoFree = nullptr;
  decltype(::PQconninfoParse)* PQconninfoParse = nullptr;
  decltype(::PQconsumeInput)* PQconsumeInput = nullptr;
  decltype(::PQenterPipelineMode)* PQenterPipelineMode = nullptr;
  decltype(::PQerrorMessage)* PQerrorMessage = nullptr;
  decltype(::PQexitPipelineMode)* PQexitPipelineMode = nullptr;
  decltype(::PQfinish)* PQfinish = nullptr;
  decltype(::PQflush)* PQflush = nullptr;
  decltype(::PQfreemem)* PQfreemem = nullptr;
  decltype(::PQgetCopyData)* PQgetCopyData = nullptr;
  decltype(::PQgetResult)* PQgetResult = nullptr;
  decltype(::PQgetisnull)* PQgetisnull = nullptr;
  decltype(::PQgetlength)* PQgetlength = nullptr;
  decltype(::PQgetvalue)* PQgetvalue = nullptr;
  decltype(::PQhost)* PQhost = nullptr;
  decltype(::PQhostaddr)* PQhostaddr = nullptr;
  decltype(::PQisBusy)* PQisBusy = nullptr;
  decltype(::PQlibVersion)* PQlibVersion = nullptr;
  decltype(::PQnotifies)* PQnotifies = nullptr;
  decltype(::PQntuples)* PQntuples = nullptr;
  decltype(::PQpipelineSync)* PQpipelineSync = nullptr;
  decltype(::PQport)* PQport = nullptr;
  decltype(::PQresultErrorMessage)* PQresultErrorMessage = nullptr;
  decltype(::PQresultStatus)* PQresultStatus = nullptr;
  decltype(::PQsendQuery)* PQsendQuery = nullptr;
  decltype(::PQsendQueryParams)* PQsendQueryParams = nullptr;
  decltype(::PQsetNoticeProcessor)* PQsetNoticeProcessor = nullptr;
  decltype(::PQsetnonblocking)* PQsetnonblocking = nullptr;
  decltype(::PQsocket)* PQsocket = nullptr;
  decltype(::PQstatus)* PQstatus = nullptr;
  bool loaded = false;  // else none of them may be called
};

// Loads it once. Any thread.
const Libpq& pq();
// Its words on one line, without its guesses at why a server is not there, and without the statement that failed.
std::string pq_words(std::string_view said);

}  // namespace sallyport
